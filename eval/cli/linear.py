"""`s2vc-eval linear`."""

import click

from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.cli.print_classification import print_classification
from s2vc.eval.defaults import LINEAR_EPOCHS, TRAIN_VIEWS
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.tasks import linear


@click.command("linear")
@checkpoint_command
@label_option
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS)
@click.option(
    "--train-views",
    type=click.IntRange(1),
    default=TRAIN_VIEWS,
    help="Augmented views of each training clip whose features are kept; each costs a pass of the backbone.",
)
def linear_command(evaluation: Evaluation, epochs: int, train_views: int) -> None:
    """Top-1 and top-5 of a linear classifier on the frozen features of CHECKPOINT (paper, Table 1).

    L2-norm, batch norm and a linear layer learn from augmented clips of the training videos; the last epoch's are
    tested on ten crops (four corners and the centre, each also flipped) of every window of the test videos, softmax
    averaged over them.
    """
    print_classification(evaluation.console, *linear(evaluation, epochs, train_views))

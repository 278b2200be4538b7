"""`s2vc-eval order`."""

from typing import TYPE_CHECKING

import click

from s2vc.eval.cli.checkpoint_options import checkpoint_command
from s2vc.eval.cli.print_classification import print_classification
from s2vc.eval.defaults import LINEAR_EPOCHS

if TYPE_CHECKING:
    from s2vc.eval.evaluation import Evaluation


@click.command("order")
@checkpoint_command
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS)
def order_command(evaluation: "Evaluation", epochs: int) -> None:
    """Top-1 of telling natural clips from shuffled ones by the frozen features of CHECKPOINT (Fig. 1; Table 2 of the
    supplement).

    Every window of a video is shown as it is and with its frames in another order; a linear classifier learns from the
    training videos, and each test video, in both orders, scores the mean of its windows. Labels are not used.
    """
    from s2vc.eval.tasks import order

    print_classification(evaluation.console, *order(evaluation, epochs))

"""`s2vc-eval linear`."""

from typing import TYPE_CHECKING

import click

from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.cli.classifier_options import (
    augment_option,
    check_selection,
    chosen_recipe,
    classifier_recipe_options,
    group_option,
    select_option,
)
from s2vc.eval.cli.print_classification import print_classification
from s2vc.eval.defaults import LINEAR_RECIPES, TRAIN_VIEWS

if TYPE_CHECKING:
    from s2vc.eval.evaluation import Evaluation


@click.command("linear")
@checkpoint_command
@label_option
@classifier_recipe_options(LINEAR_RECIPES)
@click.option(
    "--train-views",
    type=click.IntRange(0),
    default=TRAIN_VIEWS,
    help="Augmented views of each training clip whose features are kept; each costs a pass of the backbone. 0: drawn "
    "anew at every step, as in the paper, for a pass in every epoch.",
)
@augment_option
@select_option
@group_option
def linear_command(
    evaluation: "Evaluation",
    recipe: str,
    epochs: int | None,
    batch: int | None,
    train_views: int,
    augment: str,
    select: str,
) -> None:
    """Top-1 and top-5 of a linear classifier on the frozen features of CHECKPOINT (paper, Table 1).

    L2-norm, batch norm and a linear layer learn from augmented clips of the training videos; the last epoch's are
    tested on ten crops (four corners and the centre, each also flipped) of every window of the test videos, softmax
    averaged over them.
    """
    from s2vc.eval.tasks import linear

    check_selection(evaluation, select)
    chosen = chosen_recipe(LINEAR_RECIPES, recipe, epochs, batch)
    if train_views:
        kept = (
            "1 view of each training clip is" if train_views == 1 else f"{train_views} views of each training clip are"
        )
        evaluation.console.print(
            f"{kept} kept; the paper draws new ones at every step: "
            "--train-views 0, for a pass of the backbone in each epoch"
        )
    print_classification(evaluation.console, *linear(evaluation, chosen, train_views, augment, select))

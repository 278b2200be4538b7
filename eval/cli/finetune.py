"""`s2vc-eval finetune`."""

from functools import partial
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
from s2vc.eval.defaults import FINETUNE_RECIPES

if TYPE_CHECKING:
    from s2vc.eval.evaluation import Evaluation


@click.command("finetune")
@checkpoint_command
@label_option
@classifier_recipe_options(FINETUNE_RECIPES)
@augment_option
@select_option
@group_option
@click.option("--activation-checkpointing", is_flag=True, help="Less memory, more time, the same gradients.")
def finetune_command(
    evaluation: "Evaluation",
    recipe: str,
    epochs: int | None,
    batch: int | None,
    augment: str,
    select: str,
    activation_checkpointing: bool,
) -> None:
    """Top-1 and top-5 of CHECKPOINT fine-tuned on the training videos, all layers (paper, Table 1).

    A linear classifier with dropout on the pooled features; the backbone learns at a tenth of its rate, and `random` at
    the whole of it. The last epoch's weights are tested as in `linear`. Stopped and run again, it goes on from its
    checkpoint.
    """
    from s2vc.eval.cli.finetune_session import finetune, train_with_memory

    check_selection(evaluation, select)
    chosen = chosen_recipe(FINETUNE_RECIPES, recipe, epochs, batch)
    train_run = partial(train_with_memory, evaluation=evaluation, activation_checkpointing=activation_checkpointing)
    path, result = finetune(evaluation, chosen.epochs, chosen.batch, train_run, chosen.decays, augment, select)
    print_classification(evaluation.console, path, result)

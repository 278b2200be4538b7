"""Options of the commands that train a classifier: for how long, on which colours, and which epoch is tested."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from s2vc.eval.defaults import LAST, PAPER, SELECTIONS, ClassifierRecipe
from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.progress import count
from s2vc.training.settings import AUGMENTS

if TYPE_CHECKING:
    from s2vc.eval.evaluation import Evaluation

augment_option = click.option(
    "--augment",
    type=click.Choice(AUGMENTS),
    default=AUGMENTS[0],
    help="light: colours of 3 clips in 10, as published; full: colours, grey and blur of pre-training.",
)
select_option = click.option(
    "--select",
    type=click.Choice(SELECTIONS),
    default=LAST,
    help="Epoch that is tested; validation: the best on a fifth of the training recordings, not trained on.",
)


group_option = click.option(
    "--group",
    metavar="COLUMN",
    help="select validation: names the recording of a video.  [default: the video's name does]",
)


def check_selection(evaluation: "Evaluation", select: str) -> None:
    """Raise UserError for a column of groups that nothing is cut by, or that is not there."""
    from s2vc.eval.validation import check_group

    if evaluation.group is not None:
        if select == LAST:
            raise UserError("--group belongs to --select validation")
        check_group(evaluation.cache, evaluation.group)


def classifier_recipe_options(
    recipes: Mapping[str, ClassifierRecipe],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with --recipe, and with --epochs and --batch, which go over it."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--batch", type=click.IntRange(2), help="[default: the recipe's]"),
            click.option("--epochs", type=click.IntRange(1), help="[default: the recipe's]"),
            click.option(
                "--recipe",
                type=click.Choice(list(recipes)),
                default=PAPER,
                help="; ".join(f"{name}: {describe(recipe)}" for name, recipe in recipes.items()),
            ),
        ):
            command = option(command)
        return command

    return decorate


def describe(recipe: ClassifierRecipe) -> str:
    """Describe a recipe for the help, its decays by the epochs that they follow."""
    decays = " and ".join(str(round(share * recipe.epochs)) for share in recipe.decays)
    return f"{count(recipe.epochs, 'epoch')}, a tenth of the rate after {decays}, batch {recipe.batch}"


def chosen_recipe(
    recipes: Mapping[str, ClassifierRecipe], name: str, epochs: int | None, batch: int | None
) -> ClassifierRecipe:
    """Take a recipe by its name, with other epochs or another batch where they are given."""
    recipe = recipes[name]
    return dataclasses.replace(recipe, epochs=epochs or recipe.epochs, batch=batch or recipe.batch)

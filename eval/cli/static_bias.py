"""`s2vc-eval static-bias`."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.defaults import (
    BATCH,
    FINETUNE_DROPOUT,
    FINETUNE_EPOCHS,
    LINEAR_EPOCHS,
    LINEAR_RECIPES,
    PAPER,
    TRAIN_VIEWS,
)
from s2vc.pipeline.console.terminal import print_result

if TYPE_CHECKING:
    from s2vc.eval.analyses.static_classes import Gain
    from s2vc.eval.evaluation import Evaluation


@click.command("static-bias")
@checkpoint_command
@label_option
@click.option("--moco", default=None, help="Checkpoint of MoCo without S²VC, for its own r, and the gain over it.")
@click.option("--still-epochs", type=click.IntRange(1), default=FINETUNE_EPOCHS, help="Of the classifier of stills.")
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS, help="Of the linear classifiers.")
@click.option("--train-views", type=click.IntRange(1), default=TRAIN_VIEWS, help="As for `linear`, 1 or more.")
@click.option("--batch", type=click.IntRange(2), default=BATCH, help="Of the classifier of stills.")
def static_bias_command(
    evaluation: "Evaluation", moco: str | None, still_epochs: int, epochs: int, train_views: int, batch: int
) -> None:
    """By class: what CHECKPOINT wins over a classifier that saw still clips only, against what that one reaches (Fig.
    6).

    s: accuracy of a backbone trained from scratch on clips of one repeated frame, with the dropout of `finetune`; a:
    that of a linear classifier on CHECKPOINT's features, as in `linear`. A gain that falls with s comes from classes
    that need motion; (a - s) / s falls with s by construction, too, so that r stands beside what it is with a dealt to
    the classes at random.
    """
    # All that is asked for is looked for before anything is trained.
    from s2vc.eval.analyses.static_classes import class_gains, plot_gains
    from s2vc.eval.cli.finetune_session import train_and_test
    from s2vc.eval.labelled import classes_in, part_entry, unseen_entry
    from s2vc.eval.tasks import probe_features

    baseline = moco_evaluation(evaluation, moco) if moco else None
    trained, tested = evaluation.labelled_parts()
    if baseline:
        baseline.warn_of_trained(tested.split, tested.part, tested.rows)
    stills = train_and_test(
        evaluation, "static-bias", trained, tested, "still", still_epochs, batch, still=True, dropout=FINETUNE_DROPOUT
    )
    recipe = dataclasses.replace(LINEAR_RECIPES[PAPER], epochs=epochs)
    accuracies = [
        probe_features(one, trained, tested, recipe, train_views).per_class for one in (evaluation, baseline) if one
    ]
    methods = [method_of(one) for one in (evaluation, baseline) if one]
    gains = class_gains(stills.per_class, accuracies[0], accuracies[1] if baseline else None, evaluation.seed, methods)
    _, names = classes_in(trained, tested)
    columns = class_columns(stills.per_class, accuracies, gains)
    path = evaluation.save(
        "static-bias",
        tested.split,
        result_numbers(stills.per_class, accuracies, gains) | unseen_entry(trained, tested),
        {"classes": [{"class": name, **_json_row(columns, number)} for number, name in enumerate(names)]},
        still_epochs=still_epochs,
        still_dropout=str(FINETUNE_DROPOUT),
        epochs_linear=epochs,
        train_views=train_views,
        moco=moco or "",
        moco_method=methods[1] if baseline else "",
        moco_weights=baseline.evaluated.weights if baseline else "",
        **part_entry(tested.part),
    )
    plot_gains(stills.per_class, gains, path.with_suffix(".png"))
    print_gains(names, columns, gains, evaluation.console)
    print_saved(evaluation.console, path, path.with_suffix(".png"))


def moco_evaluation(evaluation: "Evaluation", moco: str) -> "Evaluation":
    """Describe the evaluation of another checkpoint by the same settings. Raises UserError where it cannot be read."""
    from s2vc.eval.evaluated_backbone import load_evaluated_backbone

    other = load_evaluated_backbone(moco, evaluation.evaluated.name, evaluation.seed)
    return dataclasses.replace(evaluation, checkpoint=moco, evaluated=other)


def method_of(evaluation: "Evaluation") -> str:
    """Name the method that a checkpoint of ours was trained by, online as s2vc; empty for another's."""
    return str(evaluation.evaluated.origin.get("method", "")).removesuffix("-online")


def result_numbers(still: np.ndarray, accuracies: Sequence[np.ndarray], gains: "Sequence[Gain]") -> dict[str, float]:
    """Name the means over classes, and what was found of each gain."""
    numbers = {"still_class_mean": float(np.nanmean(still))}
    for name, accuracy in zip(("class_mean", "moco_class_mean"), accuracies, strict=False):
        numbers[name] = float(np.nanmean(accuracy))
    for gain in gains:
        numbers |= gain.numbers
    return numbers


def class_columns(
    still: np.ndarray, accuracies: Sequence[np.ndarray], gains: "Sequence[Gain]"
) -> dict[str, np.ndarray]:
    """Name the columns of the table of classes, each (classes,), NaN where a value is not defined."""
    columns = {"still": still, **dict(zip(("accuracy", "moco_accuracy"), accuracies, strict=False))}
    names = {"relative": "relative_gain", "moco_relative": "moco_relative_gain", "over_moco": "gain_over_moco"}
    return columns | {names[gain.key]: gain.values for gain in gains}


def _json_row(columns: dict[str, np.ndarray], number: int) -> dict[str, float | None]:
    return {name: float(v[number]) if np.isfinite(v[number]) else None for name, v in columns.items()}


def _percent(share: float, signed: bool) -> str:
    """Write a share as percent, with a dash where it is not defined."""
    return f"{share:{'+' * signed}.1%}" if np.isfinite(share) else "–"


def print_gains(names: list[str], columns: dict[str, np.ndarray], gains: "Sequence[Gain]", console: Console) -> None:
    """Print a row for each class, the one that stills tell least first, and what was found of each gain."""
    from s2vc.eval.analyses.static_classes import MIN_CLASSES

    table = Table("class", *(name.replace("_", " ") for name in columns))
    for i in np.argsort(columns["still"]):
        table.add_row(names[i], *(_percent(v[i], signed="gain" in name) for name, v in columns.items()))
    console.print(table)
    for gain in gains:
        found = gain.correlation
        text = (
            f"no correlation: it wants {MIN_CLASSES} classes with both figures, and figures that vary"
            if found is None
            else f"Pearson's r with s {found.r:.2f}, 95% interval {found.low:.2f} to {found.high:.2f}"
        )
        print_result(console, f"{gain.title}: {text}")
        if found is not None and gain.note:
            console.print(gain.note)

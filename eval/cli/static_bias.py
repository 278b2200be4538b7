"""`s2vc-eval static-bias`."""

import dataclasses

import click
import numpy as np
from rich.table import Table

from s2vc.eval.analyses.static_classes import MIN_CLASSES, Correlation, correlation, plot_gains, relative_gain
from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.cli.finetune import train_and_test
from s2vc.eval.defaults import BATCH, FINETUNE_EPOCHS, LINEAR_EPOCHS, TRAIN_VIEWS
from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import classes_in
from s2vc.eval.results import TABLE
from s2vc.eval.tasks import probe_features

RELATIVE, OVER_MOCO = "relative gain, (a - s) / s", "gain over MoCo, a - a_moco"


@click.command("static-bias")
@checkpoint_command
@label_option
@click.option("--moco", default=None, help="Checkpoint of MoCo without S²VC, for the gain over it.")
@click.option("--still-epochs", type=click.IntRange(1), default=FINETUNE_EPOCHS, help="Of the classifier of stills.")
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS, help="Of the linear classifiers.")
@click.option("--train-views", type=click.IntRange(1), default=TRAIN_VIEWS, help="As for `linear`.")
@click.option("--batch", type=click.IntRange(2), default=BATCH, help="Of the classifier of stills.")
def static_bias_command(
    evaluation: Evaluation, moco: str | None, still_epochs: int, epochs: int, train_views: int, batch: int
) -> None:
    """By class: what CHECKPOINT wins over a classifier that saw still clips only, against what that one reaches (Fig.
    6).

    s: accuracy of a backbone trained from scratch on clips of one repeated frame; a: that of a linear classifier on
    CHECKPOINT's features, as in `linear`. A gain that falls with s comes from classes that need motion.
    """
    trained, tested = evaluation.labelled_parts()
    stills = train_and_test(evaluation, "static-bias", trained, tested, "still", still_epochs, batch, still=True)
    still = stills.per_class
    accuracy = probe_features(evaluation, trained, tested, epochs, train_views).per_class
    gains = {RELATIVE: relative_gain(accuracy, still)}
    if moco:
        other = load_evaluated_backbone(moco, evaluation.evaluated.name, evaluation.seed)
        baseline = dataclasses.replace(evaluation, checkpoint=moco, evaluated=other)
        gains[OVER_MOCO] = accuracy - probe_features(baseline, trained, tested, epochs, train_views).per_class
    correlations = {name: correlation(gain, still, evaluation.seed) for name, gain in gains.items()}
    _, names = classes_in(trained, tested)
    path = evaluation.save(
        "static-bias",
        tested.split,
        _numbers(still, accuracy, correlations),
        {"classes": [_class_entry(*row) for row in zip(names, still, accuracy, *gains.values(), strict=True)]},
        moco=moco or "",
        still_epochs=still_epochs,
        epochs_linear=epochs,
        train_views=train_views,
    )
    plot_gains(still, gains, correlations, path.with_suffix(".png"))
    _print_gains(evaluation, names, still, accuracy, gains, correlations)
    evaluation.console.print(f"{path}, {path.stem}.png, {path.parent / TABLE}")


def _numbers(still: np.ndarray, accuracy: np.ndarray, correlations: dict[str, Correlation | None]) -> dict[str, float]:
    numbers = {"still_class_mean": float(np.nanmean(still)), "class_mean": float(np.nanmean(accuracy))}
    for name, found in zip(("relative", "over_moco"), correlations.values(), strict=False):
        if found is not None:
            numbers |= {f"r_{name}": found.r, f"r_{name}_low": found.low, f"r_{name}_high": found.high}
    return numbers


def _class_entry(name: str, still: float, accuracy: float, relative: float, over_moco: float = float("nan")) -> dict:
    values = {"still": still, "accuracy": accuracy, "relative_gain": relative, "gain_over_moco": over_moco}
    return {"class": name, **{k: float(v) if np.isfinite(v) else None for k, v in values.items()}}


def _print_gains(
    evaluation: Evaluation,
    names: list[str],
    still: np.ndarray,
    accuracy: np.ndarray,
    gains: dict[str, np.ndarray],
    correlations: dict[str, Correlation | None],
) -> None:
    table = Table("class", "still, s", "found, a", *gains)
    for i in np.argsort(still):
        values = [f"{still[i]:.1%}", f"{accuracy[i]:.1%}", *(f"{gain[i]:+.1%}" for gain in gains.values())]
        table.add_row(names[i], *values)
    evaluation.console.print(table)
    for name, found in correlations.items():
        text = (
            f"no correlation: it wants {MIN_CLASSES} classes with both figures, and figures that vary"
            if found is None
            else f"Pearson's r with s {found.r:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}"
        )
        evaluation.console.print(f"{name}: {text}")

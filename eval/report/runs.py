"""A training run as the report shows it: settings, how far it got, its last metrics and its curves."""

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from s2vc.eval.evaluated_backbone import WEIGHTS_DIGITS
from s2vc.eval.report.pictures import Picture, Pictures
from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.progress import number
from s2vc.training.curves import plot_curves
from s2vc.training.dpc_settings import method_defaults
from s2vc.training.methods import contrastive_chance_top1
from s2vc.training.regimes import PAPER, SMALL
from s2vc.training.run_folder import RunFolder, TrainingStep, last_tenth, mean_of, read_metrics
from s2vc.training.settings import (
    TrainingSettings,
    is_contrastive,
    merge_settings,
    read_settings_file,
    shape_of_clips,
)


@dataclass(frozen=True)
class RunView:
    """Holds what the page shows of a run. differing, same: names and values of settings, against the defaults. metrics:
    names and numbers, as text."""

    name: str
    folder: str
    title: str
    progress: str
    differing: list[tuple[str, str, str]]
    same: list[tuple[str, str]]
    metrics: list[tuple[str, str]]
    averaged: int
    curves: Picture | None


def read_run_settings(folder: Path) -> TrainingSettings:
    """Read the settings of a run's folder. Raises UserError where they cannot be read or make no sense."""
    path = RunFolder(folder).settings
    content = read_settings_file(path)
    try:
        return merge_settings(content)
    except UserError as error:
        raise UserError(f"{path} is damaged, or another version's: {error}") from None


def view_run(folder: Path, pictures: Pictures) -> RunView:
    """Describe a run. Raises UserError for settings or metrics that cannot be read."""
    settings, records = read_run_settings(folder), read_run_steps(folder)
    differing, same = _against_defaults(settings)
    if (weights := starting_weights(folder)) is not None:
        differing.append(("weights that init had", weights[:WEIGHTS_DIGITS], "–"))
    last = last_tenth(records)
    return RunView(
        name=folder.resolve().name,
        folder=str(folder),
        title=f"{settings.method}, {settings.backbone}, {settings.clip_length} frames of {settings.size}²",
        progress=_progress(settings, records),
        differing=differing,
        same=same,
        metrics=_metrics(last),
        averaged=len(last),
        curves=_curves(folder, settings, records, pictures),
    )


def starting_weights(folder: Path) -> str | None:
    """Read the hash of the weights that a run started from; None where they were fresh, or it does not say."""
    record = RunFolder(folder).starting_weights
    try:
        return record.read_text(encoding="utf-8").strip() if record.is_file() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{record} is damaged: {error}") from None


def read_run_steps(folder: Path) -> list[TrainingStep]:
    """Read the metrics of a run's folder. Raises UserError where they cannot be read."""
    path = RunFolder(folder).metrics
    try:
        return read_metrics(path)
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{path} is damaged, or another version's: {error}") from None


def _against_defaults(settings: TrainingSettings) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """List (name, value, default) of settings that differ from the defaults for the backbone and the epochs, and the
    others."""
    own = method_defaults(settings.method)
    plain = TrainingSettings(**own | {"method": settings.method, "backbone": settings.backbone})
    by_length = {"epochs": plain.epochs, "warmup_epochs": min(plain.warmup_epochs, settings.epochs // 10)}
    chosen = {"method": TrainingSettings.method, "backbone": TrainingSettings.backbone}
    defaults = dataclasses.asdict(plain) | shape_of_clips(plain) | by_length | chosen | own
    defaults["regime"] = PAPER if settings.regime == SMALL else settings.regime  # Its settings are the defaults.
    differing, same = [], []
    for name, value in dataclasses.asdict(settings).items():
        if value == defaults[name]:
            same.append((name, _as_text(value)))
        else:
            differing.append((name, _as_text(value), _as_text(defaults[name])))
    return differing, same


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return " ".join(map(_as_text, value)) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value) or "–"


def _progress(settings: TrainingSettings, records: list[TrainingStep]) -> str:
    if not records:
        return "no step done yet"
    last, steps = records[-1], _steps_of_an_epoch(records) * settings.epochs
    done = f"step {last.step:,} of {steps:,}" if steps else f"step {last.step:,}"
    ended = ", finished" if steps == last.step else ""
    return f"{done}, epoch {last.epoch} of {settings.epochs}{ended}"


def epochs_done(records: list[TrainingStep]) -> int | None:
    """Count whole epochs; None where that cannot be known, in the first one and before it."""
    steps = _steps_of_an_epoch(records)
    return records[-1].step // steps if steps else None


def _steps_of_an_epoch(records: list[TrainingStep]) -> int:
    """Count the steps of an epoch; 0 while the first one may still be going on."""
    return sum(r.epoch == 1 for r in records) if records and records[-1].epoch > 1 else 0


def _metrics(records: list[TrainingStep]) -> list[tuple[str, str]]:
    """Average the metrics over the records; what is NaN is left out."""
    if not records:
        return []
    mean = partial(mean_of, records)
    shown = [
        ("loss", f"{mean('loss'):.3f} nats"),
        ("top-1", f"{mean('top1'):.1%}"),
        ("top-5", f"{mean('top5'):.1%}"),
        ("top-1 in a batch", f"{mean('batch_top1'):.1%}"),
        ("learning rate", f"{records[-1].lr:g}"),
        ("clips/s", number(mean("clips_per_second"))),
        ("waiting for data", f"{mean('data_wait'):.1%}"),
    ]
    return [(name, text) for name, text in shown if not text.startswith("nan")]


def _curves(
    folder: Path, settings: TrainingSettings, records: list[TrainingStep], pictures: Pictures
) -> Picture | None:
    """Take curves.png, or draw the same anew."""
    path, title = RunFolder(folder).curves, f"Curves of {folder.resolve().name}"
    if path.exists():
        return pictures.take(path, title)
    if not records:
        return None
    known = is_contrastive(settings.method) and (settings.negatives == "batch" or settings.queue)
    chance = contrastive_chance_top1(settings) if known else math.nan
    with TemporaryDirectory() as scratch:
        drawn = Path(scratch) / path.name
        plot_curves(records, chance, drawn)
        return pictures.take(drawn, title)

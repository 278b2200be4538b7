"""What a sweep consists of: its trials, the folder they lie in, and what remains to be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from s2vc.eval.defaults import ALL_SPLITS, PER_TRIAL_SETTINGS
from s2vc.eval.sweep.protocol import Protocol
from s2vc.manifests.errors import UserError, refuse_other_settings
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import LOCK
from s2vc.pipeline.variants import Variant
from s2vc.training.given_settings import refuse_without_effect
from s2vc.training.methods import check_starting_weights, open_clips
from s2vc.training.prepare import check_normalisation, with_regime
from s2vc.training.run_folder import RunFolder
from s2vc.training.setting_fields import without_unset
from s2vc.training.settings import TrainingSettings, merge_settings, settings_yaml

EVALUATION = "evaluation"
"""Under this name sweep.yaml has how trials are evaluated, beside the settings of the runs."""

CHECKPOINT = "checkpoint"
"""Under this name evaluated.json says which checkpoint of the trial was evaluated, beside the parts."""

BASELINE = "moco"
"""Every variant is compared, seed by seed, with MoCo without S²VC."""


@dataclass(frozen=True)
class Trial:
    """Names one training run and its evaluation. variant: the one that its keys come from; None for MoCo. split: the
    column it is trained on, where there are several; None for the one that all trials share."""

    variant: str | None
    seed: int
    split: str | None = None

    @property
    def arm(self) -> str:
        """Name what is compared: the variant, or MoCo."""
        return self.variant or BASELINE

    @property
    def name(self) -> str:
        return "-".join([self.arm, *([self.split] if self.split else []), f"seed{self.seed}"])

    def settings(self, shared: dict[str, Any]) -> dict[str, Any]:
        """Put the settings of its run over those that all trials share."""
        source = {"method": "s2vc", "variant": [self.variant]} if self.variant else {"method": BASELINE}
        return {**shared, **source, "seed": self.seed, **({"split": self.split} if self.split else {})}


class SweepFolder:
    """Names the files of a sweep, and reads and writes them. runs: where its runs lie, which another sweep may have
    trained and evaluated in its own way; None: in a folder of its own."""

    def __init__(self, root: Path, runs: Path | None = None):
        self.root = root
        self.shared_runs = runs
        self.plan = root / "sweep.yaml"
        self.runs = runs or root / "runs"
        self.results = root / "results"
        self.validation = root / "validation"
        self.kept = root / "kept.json"
        self.table = root / "sweep.csv"
        self.summary = root / "sweep.md"
        self.curve = root / "curve.png"
        self.stop = root / ".stop"

    def run(self, trial: Trial) -> Path:
        return self.runs / trial.name

    def numbers(self, trial: Trial) -> dict[str, dict[str, float]]:
        """Read what a trial reached, by the key of each part; parts that are not evaluated yet are not there, nor any
        of a run whose checkpoint is another now."""
        path = self._evaluated(trial)
        content = dict(files.read_json(path)) if path.exists() else {}
        mark = content.pop(CHECKPOINT, None)
        return content if mark in (None, self._checkpoint_mark(trial) or mark) else {}

    def write_numbers(self, trial: Trial, numbers: dict[str, dict[str, float]]) -> None:
        mark = self._checkpoint_mark(trial)
        files.write_json(self._evaluated(trial), {**numbers, **({CHECKPOINT: mark} if mark else {})})

    def _checkpoint_mark(self, trial: Trial) -> str:
        """Tell a trial's checkpoint from others at its path, by size and time: hashing those of a sweep would take
        minutes. Empty where there is none."""
        path = RunFolder(self.run(trial)).checkpoint
        return f"{path.stat().st_size}-{path.stat().st_mtime_ns}" if path.exists() else ""

    def _evaluated(self, trial: Trial) -> Path:
        if self.shared_runs:
            return self.root / "evaluated" / f"{trial.name}.json"
        return self.run(trial) / "evaluated.json"

    def kept_shares(self) -> dict[str, float]:
        """Read the share of the latents that each variant keeps, mean over windows."""
        return dict(files.read_json(self.kept)) if self.kept.exists() else {}

    def open(self, cache: Cache, shared: dict[str, Any], protocol: Protocol) -> None:
        """Begin a sweep here, or resume it."""
        self.check(cache, shared, protocol)
        if not self.plan.exists():
            content = _sweep_settings(cache, shared) | ({EVALUATION: how} if (how := protocol.how) else {})
            files.write_text(self.plan, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def check(self, cache: Cache, shared: dict[str, Any], protocol: Protocol) -> None:
        """Raise UserError for a folder of something else, or of a sweep with other settings."""
        wanted = _sweep_settings(cache, shared)
        self._check_starting_weights(shared)
        if not self.plan.exists():
            if self.root.exists() and any(path.name != LOCK for path in self.root.iterdir()):
                raise UserError(f"{self.root} holds something else; choose another --out")
            return
        before = yaml.safe_load(self.plan.read_text(encoding="utf-8"))
        if not isinstance(before, dict):
            raise UserError(f"{self.plan} is damaged; choose another --out")
        evaluated = before.pop(EVALUATION, {})
        if not isinstance(evaluated, dict):
            raise UserError(f"{self.plan} is damaged; choose another --out")
        refuse_other_settings(self.root, "sweep", evaluated, protocol.how)
        old, new = (without_unset(TrainingSettings, values) for values in (before, wanted))
        refuse_other_settings(self.root, "sweep", old, new)

    def _check_starting_weights(self, shared: dict[str, Any]) -> None:
        """Raise UserError where a run here began from other weights than --init has now, though their file has the same
        name: a run that is done would not notice."""
        if not shared.get("init"):
            return
        weights = check_starting_weights(example_settings(shared), torch.device("cpu"))
        for record in sorted(self.runs.glob(f"*/{RunFolder(self.root).starting_weights.name}")):
            RunFolder(record.parent).keep_starting_weights(weights)


def _sweep_settings(cache: Cache, shared: dict[str, Any]) -> dict[str, Any]:
    """Give what is compared when a sweep is resumed."""
    return {**shared, "cache": cache.storage.location}


def shared_settings(layers: Sequence[dict[str, Any]], cache: Cache) -> dict[str, Any]:
    """Give the settings that all trials share, as plain values. The regime is chosen here, once: its settings are every
    arm's. layers: the last one is what a person gave for this sweep. Raises UserError for settings that a sweep
    decides, for those that have no effect, and for invalid ones."""
    asked = layers[-1]
    given = {name: value for layer in layers for name, value in layer.items()}
    if wrong := [name for name in given if name in PER_TRIAL_SETTINGS]:
        by = PER_TRIAL_SETTINGS[wrong[0]]
        raise UserError(f"{wrong[0]} is what a sweep decides for each run, by {by}: leave it out")
    layers = [*layers, {"method": BASELINE, "cache": cache.storage.location}]
    if given.get("split") == ALL_SPLITS:  # Splits of one dataset are of about one size.
        layers.append({"split": split_columns(cache.index)[0]})
    settings = with_regime(layers, len(open_clips(merge_settings(*layers))))
    refuse_without_effect(asked, settings)
    check_normalisation(settings, chosen=bool({"mean", "std"} & set(given)))
    values: dict[str, Any] = yaml.safe_load(settings_yaml(settings))
    return {name: value for name, value in values.items() if name not in PER_TRIAL_SETTINGS} | {"cache": settings.cache}


def example_settings(shared: dict[str, Any]) -> TrainingSettings:
    """Give the settings of one run of the sweep, for what all have in common."""
    return merge_settings(Trial(None, 0).settings(shared))


def plan_trials(variants: Sequence[Variant], seeds: int, splits: Sequence[str] = ()) -> list[Trial]:
    """Plan every variant and the baseline with every seed, and on each of the splits where there are several; seed by
    seed, and split by split, so that an early table compares all of them."""
    arms: list[str | None] = [None, *(v.name for v in variants)]
    columns: Sequence[str | None] = splits or [None]
    return [Trial(arm, seed, split) for seed in range(seeds) for split in columns for arm in arms]


def unfinished_trials(folder: SweepFolder, trials: Sequence[Trial], protocol: Protocol) -> list[Trial]:
    """Select the trials with a part that is not evaluated yet."""
    keys = {part.key for part in protocol.parts}
    return [t for t in trials if not keys <= set(folder.numbers(t))]

"""What a sweep consists of: its trials, the folder they lie in, and what remains to be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s2vc.manifests.errors import UserError, refuse_other_settings
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant
from s2vc.training.methods import open_clips
from s2vc.training.prepare import with_regime
from s2vc.training.setting_fields import without_unset
from s2vc.training.settings import TrainingSettings, merge_settings, settings_yaml

BASELINE = "moco"
"""Every variant is compared, seed by seed, with MoCo without S²VC."""

PER_TRIAL_SETTINGS = ("method", "alpha", "keep", "variant", "draws", "seed", "workers", "cache")
"""A sweep gives each trial these settings itself."""


@dataclass(frozen=True)
class Trial:
    """Names one training run and its evaluation. variant: the one that its keys come from; None for MoCo."""

    variant: str | None
    seed: int

    @property
    def arm(self) -> str:
        """Name what is compared: the variant, or MoCo."""
        return self.variant or BASELINE

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"

    def settings(self, shared: dict[str, Any]) -> dict[str, Any]:
        """Put the settings of its run over those that all trials share."""
        source = {"method": "s2vc", "variant": [self.variant]} if self.variant else {"method": BASELINE}
        return {**shared, **source, "seed": self.seed}


class SweepFolder:
    """Names the files of a sweep, and reads and writes them."""

    def __init__(self, root: Path):
        self.root = root
        self.plan = root / "sweep.yaml"
        self.runs = root / "runs"
        self.results = root / "results"
        self.kept = root / "kept.json"
        self.table = root / "sweep.csv"
        self.summary = root / "sweep.md"
        self.curve = root / "curve.png"
        self.stop = root / ".stop"

    def run(self, trial: Trial) -> Path:
        return self.runs / trial.name

    def numbers(self, trial: Trial) -> dict[str, dict[str, float]]:
        """Read what a trial reached, by task; tasks that are not evaluated yet are not there."""
        path = self.run(trial) / "evaluated.json"
        return dict(files.read_json(path)) if path.exists() else {}

    def write_numbers(self, trial: Trial, numbers: dict[str, dict[str, float]]) -> None:
        files.write_json(self.run(trial) / "evaluated.json", numbers)

    def kept_shares(self) -> dict[str, float]:
        """Read the share of the latents that each variant keeps, mean over windows."""
        return dict(files.read_json(self.kept)) if self.kept.exists() else {}

    def open(self, cache: Cache, shared: dict[str, Any]) -> None:
        """Begin a sweep here, or resume it."""
        self.check(cache, shared)
        if not self.plan.exists():
            files.write_text(
                self.plan, yaml.safe_dump(_sweep_settings(cache, shared), sort_keys=False, allow_unicode=True)
            )

    def check(self, cache: Cache, shared: dict[str, Any]) -> None:
        """Raise UserError for a folder of something else, or of a sweep with other settings."""
        wanted = _sweep_settings(cache, shared)
        if not self.plan.exists():
            if self.root.exists() and any(self.root.iterdir()):
                raise UserError(f"{self.root} holds something else; choose another --out")
            return
        before = yaml.safe_load(self.plan.read_text(encoding="utf-8"))
        if not isinstance(before, dict):
            raise UserError(f"{self.plan} is damaged; choose another --out")
        old, new = (without_unset(TrainingSettings, values) for values in (before, wanted))
        refuse_other_settings(self.root, "sweep", old, new)


def _sweep_settings(cache: Cache, shared: dict[str, Any]) -> dict[str, Any]:
    """Give what is compared when a sweep is resumed."""
    return {**shared, "cache": cache.storage.location}


def shared_settings(layers: Sequence[dict[str, Any]], cache: Cache) -> dict[str, Any]:
    """Give the settings that all trials share, as plain values. The regime is chosen here, once: its settings are every
    arm's. Raises UserError for settings that a sweep decides, and for invalid ones."""
    given = {name: value for layer in layers for name, value in layer.items()}
    if wrong := [name for name in given if name in PER_TRIAL_SETTINGS]:
        raise UserError(f"{wrong[0]} is what a sweep decides for each run: leave it out")
    layers = [*layers, {"method": BASELINE, "cache": cache.storage.location}]
    settings = with_regime(layers, len(open_clips(merge_settings(*layers))))
    values: dict[str, Any] = yaml.safe_load(settings_yaml(settings))
    return {name: value for name, value in values.items() if name not in PER_TRIAL_SETTINGS} | {"cache": settings.cache}


def example_settings(shared: dict[str, Any]) -> TrainingSettings:
    """Give the settings of one run of the sweep, for what all have in common."""
    return merge_settings(Trial(None, 0).settings(shared))


def plan_trials(variants: Sequence[Variant], seeds: int) -> list[Trial]:
    """Plan every variant and the baseline with every seed; seed by seed, so that an early table compares all of
    them."""
    arms: list[str | None] = [None, *(v.name for v in variants)]
    return [Trial(arm, seed) for seed in range(seeds) for arm in arms]


def unfinished_trials(folder: SweepFolder, trials: Sequence[Trial], tasks: Sequence[str]) -> list[Trial]:
    """Select the trials with a task that is not evaluated yet."""
    return [t for t in trials if not set(tasks) <= set(folder.numbers(t))]

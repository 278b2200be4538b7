"""The folder of a run: its settings, the latest checkpoint, and what was measured at every step."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.amp import GradScaler

from s2vc.manifests.errors import UserError, refuse_other_settings
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import StepReader
from s2vc.pipeline.storage.training_checkpoint import write_checkpoint
from s2vc.training.backbones.checkpoints import read_checkpoint
from s2vc.training.dpc_settings import EARLIER_DEFAULTS
from s2vc.training.settings import (
    AUTO,
    MAY_CHANGE,
    TrainingSettings,
    is_contrastive,
    merge_settings,
    read_settings_file,
    settings_yaml,
)

CHECKPOINT_FORMAT = 1


@dataclass(frozen=True)
class TrainingStep:
    """Holds a row of metrics.csv. step: counts from 1 over the whole run. loss: in nats. top1, top5: shares of clips,
    or of DPC's places, whose target is the highest logit, or among the five highest. batch_top1: share of queries whose
    own key is the nearest among those of the step, NaN with classes (s2vc.training.moco.Scores,
    s2vc.training.dpc.DPC.forward). clips_per_second: counts queries. data_wait: share of the time."""

    step: int
    epoch: int
    loss: float
    top1: float
    top5: float
    batch_top1: float
    lr: float
    clips_per_second: float
    data_wait: float


@dataclass(frozen=True)
class Position:
    """Tells how far a run is: `step` steps of epoch `epoch` (from 0) are done, and `total` in all."""

    epoch: int = 0
    step: int = 0
    total: int = 0


class RunFolder:
    """Names the files of a run, and reads and writes them."""

    def __init__(self, root: Path):
        self.root = root
        self.settings = root / "settings.yaml"
        self.checkpoint = root / "checkpoint.pt"
        self.metrics = root / "metrics.csv"
        self.monitor = root / "monitor.csv"
        self.curves = root / "curves.png"
        self.tensorboard = root / "tensorboard"
        self.starting_weights = root / "init.sha256"

    def open(self, settings: TrainingSettings) -> None:
        """Begin a run here, or resume it. Raises UserError where the folder holds anything else, or other settings."""
        if not self.settings.exists():
            if self.root.exists() and any(self.root.iterdir()):
                raise UserError(f"{self.root} holds something else; choose another --out")
            self.root.mkdir(parents=True, exist_ok=True)
            files.write_text(self.settings, settings_yaml(settings))
            return
        before = merge_settings(read_settings_file(self.settings))
        # Earlier versions wrote auto, and chose anew on every machine.
        if before.precision == AUTO != settings.precision:
            before = dataclasses.replace(before, precision=settings.precision)
            files.write_text(self.settings, settings_yaml(before))
        refuse_other_settings(self.root, "run", _compared(before), _compared(settings))

    def keep_starting_weights(self, weights: str) -> None:
        """Write down the hash of the weights that a run starts from; nothing for fresh ones, whose hash is empty.

        Raises UserError where the run here was begun from others, though their file has the same name.
        """
        if weights and not self.starting_weights.exists() and not self.checkpoint.exists():
            files.write_text(self.starting_weights, weights + "\n")
        elif weights and self.starting_weights.exists() and self.starting_weights.read_text().strip() != weights:
            raise UserError(
                f"{self.root} holds a run that began from other weights than --init has now; choose another --out"
            )

    def precision(self) -> str:
        """Read the precision that the run here was begun in: AUTO where there is none, or it does not say."""
        return merge_settings(read_settings_file(self.settings)).precision if self.settings.exists() else AUTO

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: GradScaler,
        settings: TrainingSettings,
        position: Position,
        videos: int,
        split: str,
    ) -> None:
        """Write the checkpoint in one step. videos: so many are trained on. split: the column of the manifest that
        chose them. Raises Stopped where it cannot be written.

        `state_dict` holds the whole model, queue and pointer included; its backbone is found under `encoder_q.0.*`, as
        in a published checkpoint. Random numbers depend on seed and position alone, so these are their state.
        """
        content = {
            "format": CHECKPOINT_FORMAT,
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "position": dataclasses.asdict(position),
            "settings": settings_yaml(settings),
            "videos": videos,
            "split": split,
        }
        write_checkpoint(self.checkpoint, content, position.total)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: GradScaler) -> Position:
        """Load the checkpoint; where there is none, the position is the start. Raises UserError for one of another
        run."""
        if not self.checkpoint.exists():
            return Position()
        content: dict[str, Any] = read_checkpoint(self.checkpoint)
        try:
            model.load_state_dict(content["state_dict"])
            # The kernels of the optimizer are this device's, not those of the one that wrote the checkpoint.
            for saved, own in zip(content["optimizer"]["param_groups"], optimizer.param_groups, strict=True):
                saved["fused"] = own["fused"]
            optimizer.load_state_dict(content["optimizer"])
            if content.get("scaler"):
                scaler.load_state_dict(content["scaler"])
            return Position(**content["position"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{self.checkpoint} is no checkpoint of this run: choose another --out") from error


def _compared(settings: TrainingSettings) -> dict[str, Any]:
    """Take the settings that a run keeps, of those that mean something to its method. One worker under Ray Train is one
    process, as none is."""
    free = MAY_CHANGE if is_contrastive(settings.method) else (*MAY_CHANGE, *EARLIER_DEFAULTS)
    names = [item.name for item in dataclasses.fields(TrainingSettings) if item.name not in free]
    return {name: getattr(settings, name) for name in names} | {"workers": max(settings.workers, 1)}


def run_settings(path: Path) -> dict[str, Any]:
    """Read the settings of a run of ours from its folder, or from a checkpoint of it; none where it is another's.
    Raises UserError for what is no checkpoint, and what `settings_in_checkpoint` raises."""
    return settings_in_checkpoint(read_checkpoint(path), path)


def settings_in_checkpoint(content: dict[str, object], path: Path) -> dict[str, Any]:
    """Read the settings of its run from the content of a checkpoint of ours; none where it is another's.

    path: of the checkpoint, for messages. Raises UserError for a value of its clips, or of their normalisation, that no
    run can have.
    """
    text = content.get("settings")
    try:
        settings = yaml.safe_load(text) if isinstance(text, str) else None
    except yaml.YAMLError:
        return {}
    if not isinstance(settings, dict) or "method" not in settings:
        return {}
    for name, value in settings.items():
        if name in _CLIP_SETTINGS and value is not None and (type(value) is not int or value < 1):
            raise UserError(f"{path} has a {name} of {value!r} in its settings, not a number of 1 or more")
        if name in ("mean", "std") and not _is_rgb(value):
            raise UserError(f"{path} has a {name} of {value!r} in its settings, not one number for each of 3 channels")
        if name == "std" and min(value) <= 0:
            raise UserError(f"{path} has a std of {value!r} in its settings, and by 0 or less nothing can be divided")
    return settings


_CLIP_SETTINGS = ("size", "clip_length", "frame_step", "block_length")


def _is_rgb(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else ()
    return len(numbers) == 3 and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)


def last_tenth(records: list[TrainingStep]) -> list[TrainingStep]:
    """Take the last tenth of a run's steps, one at least where there is any: its metrics are means over them."""
    return records[-max(1, len(records) // 10) :]


def mean_of(records: list[TrainingStep], name: str) -> float:
    """Average a column of metrics.csv over some steps."""
    return sum(getattr(r, name) for r in records) / len(records)


def read_metrics(path: Path) -> list[TrainingStep]:
    """Read metrics.csv; no file gives no rows, and a last line that was cut off by a kill is left out."""
    return StepReader(path, TrainingStep).new()

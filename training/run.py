"""A run's folder: its settings, the latest checkpoint, and what was measured at every step."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from manifests.errors import UserError, refuse_other_settings
from pipeline import files
from training.backbones.checkpoints import read_checkpoint
from training.settings import RUN_ONLY, Settings, merge, read_settings_file, settings_text

CHECKPOINT_FORMAT = 1


class Stopped(UserError):
    """A run that cannot go on: the disk is full, the loss is no number, processes die; its last checkpoint is whole."""

    exit_code = 1


@dataclass(frozen=True)
class StepRecord:
    """A row of metrics.csv. step: from 1, over the whole run. loss in nats; top1, top5: shares of clips whose target is
    the highest logit, or among the five highest; batch_top1: of queries whose own key is the nearest among those of the
    step, NaN with classes (training.moco.Scores). clips_per_second: queries. data_wait: share of the time."""

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
    """Where a run stands: this many steps of epoch `epoch` (from 0) are done, `total` in all."""

    epoch: int = 0
    step: int = 0
    total: int = 0


class RunFolder:
    """Paths of a run, and its files."""

    def __init__(self, root: Path):
        self.root = root
        self.settings = root / "settings.yaml"
        self.checkpoint = root / "checkpoint.pt"
        self.metrics = root / "metrics.csv"
        self.curves = root / "curves.png"
        self.tensorboard = root / "tensorboard"

    def open(self, settings: Settings) -> None:
        """Begin a run here, or go on with it; raises UserError for a folder of something else, or other settings."""
        if not self.settings.exists():
            if self.root.exists() and any(self.root.iterdir()):
                raise UserError(f"{self.root} holds something else; choose another --out")
            self.root.mkdir(parents=True, exist_ok=True)
            files.write_text(self.settings, settings_text(settings))
            return
        before = merge(read_settings_file(self.settings))
        compared = [item.name for item in dataclasses.fields(Settings) if item.name not in RUN_ONLY]
        old, new = ({name: getattr(of, name) for name in compared} for of in (before, settings))
        refuse_other_settings(self.root, "run", old, new)

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, settings: Settings, position: Position) -> None:
        """Write the checkpoint aside, and rename it. Raises Stopped where it cannot be written.

        `state_dict` holds the whole model, queue and pointer included; its backbone is found under `encoder_q.0.*`, as
        in a published checkpoint. Random numbers depend on seed and position alone, so these are their state.
        """
        content = {
            "format": CHECKPOINT_FORMAT,
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "position": dataclasses.asdict(position),
            "settings": settings_text(settings),
        }
        try:
            with files.attempt(self.checkpoint) as aside:
                torch.save(content, aside)
        except (OSError, RuntimeError) as error:  # torch tells a full disk by a RuntimeError
            reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
            kept = "the one before it is whole" if self.checkpoint.exists() else "there is none yet"
            raise Stopped(
                f"the checkpoint of step {position.total} cannot be written to {self.root} ({reason}); {kept}: "
                "make room, and run the same command again to go on"
            ) from error

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        """Put the checkpoint into model and optimizer; where there is none, the position is the start."""
        if not self.checkpoint.exists():
            return Position()
        content: dict[str, Any] = read_checkpoint(self.checkpoint)
        try:
            model.load_state_dict(content["state_dict"])
            optimizer.load_state_dict(content["optimizer"])
            return Position(**content["position"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{self.checkpoint} is no checkpoint of this run: choose another --out") from error


class Metrics:
    """metrics.csv, a row per step, written as the steps are done; rows after `total` steps are of a life before."""

    def __init__(self, path: Path, total: int):
        kept = [r for r in read_metrics(path) if r.step <= total]
        columns = [f.name for f in dataclasses.fields(StepRecord)]
        rows = [",".join(columns), *(_row(record) for record in kept)]
        files.write_text(path, "\n".join(rows) + "\n")
        self._file = path.open("a", encoding="utf-8")

    def add(self, record: StepRecord) -> None:
        self._file.write(_row(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class MetricsReader:
    """metrics.csv as another process writes it: `new` gives the rows since the last call, in order.

    A file that was replaced, as a run that goes on does, is read anew. A last line that is not whole waits.
    """

    def __init__(self, path: Path):
        self._path = path
        self._inode, self._offset = 0, 0

    def new(self) -> list[StepRecord]:
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    self._inode, self._offset = inode, len(file.readline())
                file.seek(self._offset)
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        whole = [line for line in lines if line.endswith(b"\n")]
        self._offset += sum(map(len, whole))
        return [_record(line.decode()) for line in whole]


def read_metrics(path: Path) -> list[StepRecord]:
    """The rows of metrics.csv, none where there is no file; a last line that was cut off by a kill is left out."""
    return MetricsReader(path).new()


def _record(line: str) -> StepRecord:
    step, epoch, *values = line.split(",")
    return StepRecord(int(step), int(epoch), *map(float, values))


def _row(record: StepRecord) -> str:
    # repr keeps every bit, so that runs can be compared by their files.
    return ",".join(repr(value) for value in dataclasses.astuple(record))

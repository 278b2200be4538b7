"""A fit on disk, and its loop: the same function in one process, and in each process of several."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from s2vc.manifests.errors import UserError, refuse_other_settings
from s2vc.pipeline.flow import (
    Architecture,
    Flow,
    load_flow,
    save_flow,
)
from s2vc.pipeline.flow.model import new_flow
from s2vc.pipeline.flow_fitting.figures import FlowFigures
from s2vc.pipeline.flow_fitting.fitting import FitRecord, FitSettings, Fitting
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import StepLog
from s2vc.pipeline.storage.training_checkpoint import write_checkpoint

CHECKPOINT_MINUTES = 5.0

Show = Callable[[FitRecord], None]


@dataclass(frozen=True)
class Fit:
    """What is fitted to what. init: the flow it starts from, a name or a path, "" for a new one of the architecture.
    source: which images, by `digest`."""

    settings: FitSettings
    architecture: Architecture
    init: str
    source: str

    def described(self) -> dict[str, Any]:
        """Everything that must be the same when a fit goes on."""
        return {
            **dataclasses.asdict(self.settings),
            **dataclasses.asdict(self.architecture),
            "init": self.init,
            "source": self.source,
        }

    def start(self, images: Tensor, held: Tensor, device: torch.device) -> Fitting:
        """The fit at step 0."""
        flow = load_flow(self.init) if self.init else new_flow(self.architecture, self.settings.seed)
        return Fitting(flow, images, held, self.settings, device)


class FitFolder:
    """The files of a fit, beside the flow that is to be: NAME.safetensors, NAME.fit.pt, NAME.csv, NAME.png (samples),
    NAME-curve.png; while several processes fit, NAME.images and NAME.stop."""

    def __init__(self, flow: Path):
        self.flow = flow
        self.checkpoint = flow.with_suffix(".fit.pt")
        self.steps = flow.with_suffix(".csv")
        self.sheet = flow.with_suffix(".png")
        self.curve = flow.with_name(f"{flow.stem}-curve.png")
        self.images = flow.with_suffix(".images")
        self.stop = flow.with_suffix(".stop")

    def refuse_finished(self) -> None:
        """Raises UserError where the flow is there."""
        if self.flow.exists():
            raise UserError(f"{self.flow} exists: choose another --out")

    def planned_steps(self) -> int | None:
        """Steps of the fit that is here, None where none is."""
        state = self._read()
        return int(state["fit"]["steps"]) if state else None

    def load(self, fit: Fit) -> dict[str, Any] | None:
        """The state of the fit that is here, None where none is. Raises UserError where it is another fit's."""
        state = self._read()
        if state:
            refuse_other_settings(self.checkpoint, "fit", state["fit"], fit.described())
        return state

    def _read(self) -> dict[str, Any] | None:
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            int(dict(state["fit"])["steps"])
        except Exception as error:  # whatever a damaged archive makes its reader raise
            raise UserError(f"{self.checkpoint} is damaged, or no checkpoint of a fit: {error}") from error
        return state

    def save(self, fit: Fit, fitting: Fitting) -> None:
        """Write the checkpoint. Raises Stopped where it cannot be written."""
        write_checkpoint(self.checkpoint, {"fit": fit.described(), **fitting.state()}, fitting.step)

    def average(self, fit: Fit) -> tuple[Flow, int]:
        """The moving average of a fit whose steps are done, and the steps that it skipped."""
        state = self.load(fit)
        if state is None:
            raise UserError(f"{self.checkpoint} is not there")
        flow = Flow(fit.architecture)
        flow.load_state_dict(state["average"])
        return flow, int(state["skipped"])

    def finish(self, fit: Fit, flow: Flow, skipped: int, figures: FlowFigures) -> None:
        """Write the flow, with its figures, and drop the checkpoint."""
        with files.attempt(self.flow) as aside:
            save_flow(flow, aside, {**dataclasses.asdict(figures), **fit.described(), "skipped": skipped})
        files.remove(self.checkpoint)


def digest(images: Tensor) -> str:
    """SHA-256 over images (N, 3, 64, 64) uint8, the first 16 digits."""
    return hashlib.sha256(images.contiguous().numpy().data).hexdigest()[:16]


def run_fit(
    fit: Fit, fitting: Fitting, folder: FitFolder, show: Show = lambda record: None, stop: Callable[[], bool] = bool
) -> None:
    """Do the steps that are left; under torch.distributed in every process, of which the first writes.

    show is called after every step; where stop() says so in any process, all end after the step. The checkpoint is
    written every CHECKPOINT_MINUTES and at the end.
    """
    log = StepLog(folder.steps, FitRecord, fitting.step) if fitting.rank == 0 else None
    saved = time.monotonic()
    try:
        for record in fitting.run():
            if log:
                log.add(record)
                show(record)
            if _any(stop(), fitting):
                break
            if log and time.monotonic() - saved > CHECKPOINT_MINUTES * 60:
                folder.save(fit, fitting)
                saved = time.monotonic()
        if log:
            folder.save(fit, fitting)
    finally:
        if log:
            log.close()


def _any(asked: bool, fitting: Fitting) -> bool:
    """Whether it is so in any of the processes."""
    if fitting.processes == 1:
        return asked
    total = torch.tensor(float(asked), device=fitting.device)
    distributed.all_reduce(total)
    return bool(total > 0)

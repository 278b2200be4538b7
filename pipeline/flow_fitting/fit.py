"""Keep a fit on disk and run its loop, with the same function in a single process and in each of several."""

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
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings
from s2vc.pipeline.flow_fitting.fitting import FitRecord, Fitting
from s2vc.pipeline.flow_fitting.flow_figures import FlowFigures
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import StepLog
from s2vc.pipeline.storage.training_checkpoint import write_checkpoint

CHECKPOINT_MINUTES = 5.0

Show = Callable[[FitRecord], None]


@dataclass(frozen=True)
class Fit:
    """Describes what is fitted to what.

    init: the flow that the fit starts from, a name or a path; "" for a new one of the architecture. source: the
    `digest` of the images.
    """

    settings: FitSettings
    architecture: Architecture
    init: str
    source: str

    def described(self) -> dict[str, Any]:
        """Return every setting that must be the same when a fit is resumed."""
        return {
            **dataclasses.asdict(self.settings),
            **dataclasses.asdict(self.architecture),
            "init": self.init,
            "source": self.source,
        }

    def start(self, images: Tensor, held: Tensor, device: torch.device) -> Fitting:
        """Return the fit at step 0, on images and held-out images (N, 3, 64, 64) uint8."""
        flow = load_flow(self.init) if self.init else new_flow(self.architecture, self.settings.seed)
        return Fitting(flow, images, held, self.settings, device)


class FitFolder:
    """Names the files of a fit, all in the folder of the flow that it will write, and reads and writes them.

    They are NAME.safetensors, NAME.fit.pt (checkpoint), NAME.csv (steps), NAME.png (samples), NAME-curve.png and, while
    several processes fit, NAME.images and NAME.stop.
    """

    def __init__(self, flow: Path):
        self.flow = flow
        self.checkpoint = flow.with_suffix(".fit.pt")
        self.steps = flow.with_suffix(".csv")
        self.samples = flow.with_suffix(".png")
        self.curve = flow.with_name(f"{flow.stem}-curve.png")
        self.images = flow.with_suffix(".images")
        self.stop = flow.with_suffix(".stop")

    def refuse_finished(self) -> None:
        """Raise UserError if the flow already exists."""
        if self.flow.exists():
            raise UserError(f"{self.flow} exists: choose another --out")

    def planned_steps(self) -> int | None:
        """Return how many steps the fit in the checkpoint is to have, None if there is no checkpoint."""
        state = self._read()
        return int(state["fit"]["steps"]) if state else None

    def load(self, fit: Fit) -> dict[str, Any] | None:
        """Return the state in the checkpoint, None if there is none. Raises UserError if it belongs to another fit."""
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
        except Exception as error:  # a damaged archive can make its reader raise anything
            raise UserError(f"{self.checkpoint} is damaged, or no checkpoint of a fit: {error}") from error
        return state

    def save(self, fit: Fit, fitting: Fitting) -> None:
        """Write the checkpoint. Raises Stopped if it cannot be written."""
        write_checkpoint(self.checkpoint, {"fit": fit.described(), **fitting.state()}, fitting.step)

    def average(self, fit: Fit) -> tuple[Flow, int]:
        """Return the moving average of the weights as a flow, and the number of skipped steps, from the checkpoint.

        Raises UserError if there is no checkpoint of this fit.
        """
        state = self.load(fit)
        if state is None:
            raise UserError(f"{self.checkpoint} is not there")
        flow = Flow(fit.architecture)
        flow.load_state_dict(state["average"])
        return flow, int(state["skipped"])

    def finish(self, fit: Fit, flow: Flow, skipped: int, figures: FlowFigures) -> None:
        """Write the flow with its figures and settings, and remove the checkpoint."""
        with files.attempt(self.flow) as aside:
            save_flow(flow, aside, {**dataclasses.asdict(figures), **fit.described(), "skipped": skipped})
        files.remove(self.checkpoint)


def digest(images: Tensor) -> str:
    """Return the first 16 digits of the SHA-256 of images (N, 3, 64, 64) uint8."""
    return hashlib.sha256(images.contiguous().numpy().data).hexdigest()[:16]


def run_fit(
    fit: Fit, fitting: Fitting, folder: FitFolder, show: Show = lambda record: None, stop: Callable[[], bool] = bool
) -> None:
    """Do the steps that are left. Under torch.distributed every process calls this, and the first one writes.

    show is called after every step, in the process that writes. When stop() is true in any process, all end after the
    current step. The checkpoint is written every CHECKPOINT_MINUTES and at the end.
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
    """Return whether `asked` is true in any of the processes."""
    if fitting.processes == 1:
        return asked
    total = torch.tensor(float(asked), device=fitting.device)
    distributed.all_reduce(total)
    return bool(total > 0)

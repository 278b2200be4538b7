"""Run a fit in several processes, each of which takes its part of every batch."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2vc.pipeline.cluster.train_processes import follower, run_processes, share_cores
from s2vc.pipeline.flow import Architecture
from s2vc.pipeline.flow_fitting.fit import Fit, FitFolder, Show, run_fit
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings
from s2vc.pipeline.flow_fitting.fitting import FitRecord
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import StepReader


def fit_on_ray(
    fit: Fit,
    images: Tensor,
    held: Tensor,
    folder: FitFolder,
    workers: int,
    address: str | None,
    show: Show,
    stop: Callable[[], bool],
    on_cpus: bool,
) -> None:
    """Call `run_fit` in `workers` processes under Ray Train (cluster.train_processes, which says what on_cpus is).

    The processes share the fit's folder, where the images are stored until the fit ends. Raises UserError if the
    cluster is too small, and Stopped if processes keep dying.
    """
    files.remove_half_written(folder.images.parent, folder.images.name)
    with files.attempt(folder.images) as aside, aside.open("wb") as file:
        np.savez(file, images=images.numpy(), held=held.numpy())
    config = {
        "settings": dataclasses.asdict(fit.settings),
        "architecture": dataclasses.asdict(fit.architecture),
        "init": fit.init,
        "source": fit.source,
        "flow": str(folder.flow.absolute()),
        "workers": workers,
    }
    poll = follower(StepReader(folder.steps, FitRecord), show, stop, folder.stop)
    try:
        run_processes(_worker, config, workers, folder.flow.with_suffix(".ray"), address, poll, on_cpus)
    finally:
        folder.images.unlink(missing_ok=True)
        folder.stop.unlink(missing_ok=True)


def _worker(config: dict[str, Any]) -> None:
    """Run the fit in one of the processes, for which Ray has set up torch.distributed."""
    from ray.train.torch import get_device

    device = get_device()
    share_cores(device)
    settings, architecture = FitSettings(**config["settings"]), Architecture(**config["architecture"])
    fit, folder = Fit(settings, architecture, config["init"], config["source"]), FitFolder(Path(config["flow"]))
    with np.load(folder.images) as arrays:
        images, held = (torch.from_numpy(arrays[name]) for name in ("images", "held"))
    fitting = fit.start(images, held, device)
    if state := folder.load(fit):
        fitting.load(state)
    run_fit(fit, fitting, folder, stop=folder.stop.exists)

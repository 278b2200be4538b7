"""Run a fit with progress, handle Ctrl-C, and print how it ended and the figures of the flow."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from torch import Tensor

from s2vc.pipeline.console.endings import stopping
from s2vc.pipeline.console.progress import clock, count, progress
from s2vc.pipeline.console.terminal import print_result
from s2vc.pipeline.flow_fitting.fit import Fit, FitFolder, Show, run_fit
from s2vc.pipeline.flow_fitting.fit_processes import fit_on_ray
from s2vc.pipeline.flow_fitting.fitting import FitRecord
from s2vc.pipeline.flow_fitting.flow_figures import FlowFigures, plot_bits
from s2vc.pipeline.storage.step_log import StepReader

AVERAGED = 50
"""The bits per dimension shown are the mean over this many steps."""


def run_fit_with_progress(
    fit: Fit,
    images: Tensor,
    held: Tensor,
    folder: FitFolder,
    device: torch.device,
    workers: int,
    ray_address: str | None,
    console: Console,
    on_cpus: bool,
) -> bool:
    """Begin or resume a fit, in this process or in several workers; return whether all its steps are done.

    on_cpus: workers leave GPUs alone.
    """
    settings = fit.settings
    # A process that has used a GPU holds some of its memory to the end, and workers have it for themselves.
    fitting = fit.start(images, held, torch.device("cpu") if workers else device)
    if state := folder.load(fit):
        fitting.load(state)
    before, started = fitting.step, time.monotonic()
    console.print(
        f"{sum(p.numel() for p in fitting.weights) / 1e6:.2f} M parameters, {count(len(images), 'image')}, "
        f"{count(len(held), 'other')} to judge by; "
        f"{count(settings.steps, 'step')} of {settings.batch}, {settings.precision} subnets"
        + (f", {before} done before" if before else ""),
    )
    if before < settings.steps:
        with _shown(fit, console) as show, stopping(console) as stop:
            if workers:
                del fitting
                fit_on_ray(fit, images, held, folder, workers, ray_address, show, stop, on_cpus)
            else:
                run_fit(fit, fitting, folder, show, stop)
    records = StepReader(folder.steps, FitRecord).new()
    plot_bits(records, folder.curve)
    _print_end(fit, records, before, time.monotonic() - started, console)
    done = bool(records) and records[-1].step >= settings.steps
    if not done:
        print_result(console, "Stopped. The checkpoint is written: run the same command again to go on.")
    return done


@contextmanager
def _shown(fit: Fit, console: Console) -> Iterator[Show]:
    """Show the progress of a fit while the block runs; yield the function that takes the record of each step."""
    recent: list[float] = []
    held = ""
    with progress("fit", fit.settings.steps, "steps", console, counted="images") as advance:

        def show(record: FitRecord) -> None:
            nonlocal recent, held
            recent = [*recent[1 - AVERAGED :], record.bits]
            if not math.isnan(record.held_out):
                held = f", held out {record.held_out:.3f}"
            skipped = f", {record.skipped} skipped" if record.skipped else ""
            note = f"{sum(recent) / len(recent):.3f} bits per dimension{held}{skipped}"
            advance(1, fit.settings.batch, note, record.step)

        yield show


def _print_end(fit: Fit, records: list[FitRecord], before: int, seconds: float, console: Console) -> None:
    """Print how many steps are done, how fast this run was, and the bits per dimension of the last steps."""
    done = len(records) - before
    if done <= 0:
        return
    last = records[-AVERAGED:]
    console.print(
        f"{len(records)} of {count(fit.settings.steps, 'step')} done, {done} in {clock(seconds)} "
        f"({done * fit.settings.batch / seconds:.1f} images/s); {sum(r.bits for r in last) / len(last):.3f} bits per "
        f"dimension at noise {fit.settings.noise:g} over the last {count(len(last), 'step')}; "
        f"{last[-1].skipped} skipped",
    )


def print_figures(figures: FlowFigures, console: Console) -> None:
    """Print the figures of a flow on held-out images."""
    for line in (
        f"on {figures.images} held-out images: {figures.bits_noise:.3f} bits per dimension at noise {figures.noise:g}, "
        f"{figures.bits_clean:.3f} clean (uniform dequantisation; nats of a density over [0, 1], and log 256 = "
        f"{figures.nats_offset:.3f}, over log 2)",
        f"decoding what was encoded: {figures.error_rms:.1e} rms, {figures.error_max:.1e} at most, of the range",
        f"latents: mean {figures.latent_mean:.3f}, STD {figures.latent_std:.3f}, {figures.latent_min:.1f} to "
        f"{figures.latent_max:.1f}; distance to N(0, 1) by dimension {figures.ks_median:.3f} (median), "
        f"not told from it at 0.05: {figures.ks_normal:.0%}",
    ):
        print_result(console, line)

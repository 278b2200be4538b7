"""`s2vc-prep fit-flow`."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

from manifests.errors import UserError
from pipeline.cli import EXIT_INTERRUPTED
from pipeline.cli.ending import stopping
from pipeline.cli.options import OUTPUT
from pipeline.device import choose_device
from pipeline.fit import FitFolder, FlowFigures, StepLog, judge, sample_sheet
from pipeline.flow import Architecture, load_flow
from pipeline.flow.fitting import FitRecord, FitSettings, Fitting, new_flow
from pipeline.images import read_images
from pipeline.progress import clock, progress

FEWEST = 256
"""Images that a flow is fitted to at least."""
HELD_OUT = 1024
"""Images kept apart, but a tenth of all at most."""
CHECKPOINT_MINUTES = 5.0
AVERAGED = 50
"""Steps whose mean is shown."""

DEFAULTS = FitSettings()
SMALL_FLOW = Architecture(hidden=32, width=64)
"""The built-in one's. The published widths are 128 and 128, at 13 times the arithmetic."""


@click.command("fit-flow")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=OUTPUT, required=True, help="The flow, a .safetensors file.")
@click.option(
    "--validation", type=click.Path(path_type=Path), help="Images to judge by.  [default: some are kept apart]"
)
@click.option("--hidden", type=click.IntRange(1), default=SMALL_FLOW.hidden, help="Channels of convolutional subnets.")
@click.option("--width", type=click.IntRange(1), default=SMALL_FLOW.width, help="Units of fully connected subnets.")
@click.option("--high-blocks", type=click.IntRange(1), default=SMALL_FLOW.high_blocks, help="Couplings at 64x64.")
@click.option("--low-blocks", type=click.IntRange(1), default=SMALL_FLOW.low_blocks, help="Couplings at 32x32.")
@click.option("--deep-blocks", type=click.IntRange(1), default=SMALL_FLOW.deep_blocks, help="Fully connected ones.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from this flow: 'default' or a file.")
@click.option("--steps", type=click.IntRange(1), default=DEFAULTS.steps, help="Of --batch images each.")
@click.option("--batch", type=click.IntRange(2), default=DEFAULTS.batch)
@click.option("--lr", type=click.FloatRange(0, 1), default=DEFAULTS.lr, help="Of Adam; falls to 0 by a cosine.")
@click.option("--warmup", type=click.IntRange(0), default=DEFAULTS.warmup, help="Steps of linear warm-up.")
@click.option("--noise", type=click.FloatRange(0, 1), default=DEFAULTS.noise, help="Gaussian, of the range; published.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=DEFAULTS.seed)
@click.option("--resize", is_flag=True, help="Cut and resize images that are not 64x64.")
@click.option("--device", default=None, help="[default: cuda where there is a GPU, else cpu]")
def fit_flow_command(
    source: Path,
    out: Path,
    validation: Path | None,
    init: Path | None,
    resize: bool,
    device: str | None,
    **given: Any,
) -> None:
    """Fit a normalizing flow to the images of SOURCE by maximum likelihood (eq. 2), and judge it.

    SOURCE is a folder of images, or of tar files of images, a tar file, or a cache, whose 64x64 frames are taken. The
    moving average of the weights is written to --out; beside it, steps as CSV and a sample sheet as PNG. Stopped and
    run again, it goes on from its checkpoint. Without --noise codec noise becomes latent motion: bits per dimension
    alone do not choose a flow.
    """
    console = Console()
    if out.suffix != ".safetensors":
        raise UserError(f"--out names the flow, a .safetensors file, not {out}")
    if out.exists():
        raise UserError(f"{out} exists: choose another --out")
    names = {f.name for f in dataclasses.fields(Architecture)}
    architecture = Architecture(**{k: v for k, v in given.items() if k in names})
    settings = FitSettings(**{k: v for k, v in given.items() if k not in names})
    on = choose_device(device)
    images, held = _read(source, validation, resize, settings, console)
    flow = load_flow(init) if init else new_flow(architecture, settings.seed)
    architecture = flow.architecture
    flow.requires_grad_(True)
    fitting = Fitting(flow, images, settings, on)
    folder = FitFolder(out)
    folder.open(settings, architecture, fitting)
    console.print(
        f"{sum(p.numel() for p in flow.parameters()) / 1e6:.2f} M parameters, {len(images)} images, {len(held)} others "
        f"to judge by; {settings.steps} steps of {settings.batch}"
        + (f", {fitting.step} done before" if fitting.step else ""),
        highlight=False,
    )
    if not _fit(folder, settings, architecture, fitting, console):
        console.print("Stopped. The checkpoint is written: run the same command again to go on.")
        sys.exit(EXIT_INTERRUPTED)
    average = fitting.average.for_inference(on, "float32")
    with progress("judge", 2 * len(held), "images", console) as advance:
        figures = judge(average, held, settings.noise, lambda n: advance(n, n))
    sample_sheet(average, held, folder.sheet)
    folder.finish(fitting, figures, settings)
    tell_figures(figures, console)
    console.print(f"{out}, {folder.steps.name}, {folder.sheet.name}", highlight=False)


def _read(
    source: Path, validation: Path | None, resize: bool, settings: FitSettings, console: Console
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images to fit to, and others to judge by: (N, 3, 64, 64) uint8 each."""
    found = []
    for place in filter(None, (source, validation)):
        found.append(read_images(place, resize, settings.seed, lambda n: progress("read", n, "images", console)))
        for reason in found[-1].skipped[:10]:
            console.print(f"skipped: {reason}", highlight=False, markup=False)
        if found[-1].skipped:
            console.print(
                f"{len(found[-1].skipped)} of the images of {place} are damaged, and skipped", highlight=False
            )
    if len(found[0]) < FEWEST:
        raise UserError(f"{source} has {len(found[0])} images that can be read; a flow wants {FEWEST} or more")
    if validation:
        if len(found[1]) < 2:
            raise UserError(f"{validation} has {len(found[1])} images that can be read; 2 or more are wanted")
        return found[0].pixels, found[1].pixels
    return found[0].held_out(min(HELD_OUT, len(found[0]) // 10), settings.seed)


def _fit(
    folder: FitFolder, settings: FitSettings, architecture: Architecture, fitting: Fitting, console: Console
) -> bool:
    """Run the steps that are left, with checkpoints and progress; True where all are done."""
    log, saved = StepLog(folder.steps, fitting.step), time.monotonic()
    recent: list[float] = []
    started, before = time.monotonic(), fitting.step
    with stopping(console) as stop, progress("fit", settings.steps, "steps", console, counted="images") as advance:
        for record in fitting.run():
            log.add(record)
            recent = [*recent[1 - AVERAGED :], record.bits]
            advance(1, settings.batch, _note(record, recent), record.step)
            if stop():
                break
            if time.monotonic() - saved > CHECKPOINT_MINUTES * 60:
                folder.save(settings, architecture, fitting)
                saved = time.monotonic()
    log.close()
    if done := fitting.step - before:
        folder.save(settings, architecture, fitting)
        spent = time.monotonic() - started
        console.print(
            f"{fitting.step} of {settings.steps} steps done, {done} in {clock(spent)} "
            f"({done * settings.batch / spent:.1f} images/s); {sum(recent) / len(recent):.3f} bits per dimension at "
            f"noise {settings.noise:g} over the last {len(recent)}; {fitting.skipped} skipped",
            highlight=False,
        )
    return fitting.step >= settings.steps


def _note(record: FitRecord, recent: list[float]) -> str:
    skipped = f", {record.skipped} skipped" if record.skipped else ""
    return f"{sum(recent) / len(recent):.3f} bits per dimension{skipped}"


def tell_figures(figures: FlowFigures, console: Console) -> None:
    """What a flow is like on images that it was not fitted to."""
    for line in (
        f"on {figures.images} held-out images: {figures.bits_noise:.3f} bits per dimension at noise {figures.noise:g}, "
        f"{figures.bits_clean:.3f} clean (uniform dequantisation; nats of a density over [0, 1], and log 256 = "
        f"{figures.nats_offset:.3f}, over log 2)",
        f"decoding what was encoded: {figures.error_rms:.1e} rms, {figures.error_max:.1e} at most, of the range",
        f"latents: mean {figures.latent_mean:.3f}, STD {figures.latent_std:.3f}, {figures.latent_min:.1f} to "
        f"{figures.latent_max:.1f}; distance to N(0, 1) by dimension {figures.ks_median:.3f} (median), "
        f"not told from it at 0.05: {figures.ks_normal:.0%}",
    ):
        console.print(line, highlight=False, soft_wrap=True)

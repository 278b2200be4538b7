"""Define the command `s2vc-prep fit-flow`."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.options import OUTPUT, address_option, device_option, threads_option
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console, print_paths
from s2vc.pipeline.flow import Architecture
from s2vc.pipeline.flow.architecture import DTYPES, SMALL_FLOW
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings

if TYPE_CHECKING:
    import torch

    from s2vc.pipeline.flow_fitting.fit import Fit


FEWEST = 256
"""A flow is fitted to no fewer images than this."""
HELD_OUT = 1024
"""About this many images are held out, but at most about a tenth of all."""
TIMED_STEPS = 5
"""This many steps are timed to find out how many fit into --minutes."""

DEFAULTS = FitSettings()

Answer = TypeVar("Answer")


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
@click.option("--init", default="", help="Start from this flow: 'default' or a file.")
@click.option("--steps", type=click.IntRange(1), default=DEFAULTS.steps, help="Of --batch images each.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="As many steps as go into these, for --steps.")
@click.option("--batch", type=click.IntRange(2), default=DEFAULTS.batch)
@click.option("--lr", type=click.FloatRange(0, 1), default=DEFAULTS.lr, help="Of Adam; falls to 0 by a cosine.")
@click.option("--warmup", type=click.IntRange(0), default=DEFAULTS.warmup, help="Steps of linear warm-up.")
@click.option("--noise", type=click.FloatRange(0, 1), default=DEFAULTS.noise, help="Gaussian, of the range; published.")
@click.option("--clip", type=click.FloatRange(0, min_open=True), default=DEFAULTS.clip, help="Norm of the gradients.")
@click.option("--decay", type=click.FloatRange(0, 1), default=DEFAULTS.decay, help="Of the moving average of weights.")
@click.option("--judge-every", type=click.IntRange(1), default=DEFAULTS.judge_every, help="Steps.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=DEFAULTS.seed)
@click.option("--precision", type=click.Choice(["auto", *DTYPES]), default="auto", help="Of the subnets.")
@click.option("--resize", is_flag=True, help="Cut and resize images that are not 64x64.")
@device_option
@threads_option
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    help="Processes under Ray Train that share the work, a GPU each where there are some; 0: this one.",
)
@address_option
def fit_flow_command(
    source: Path,
    out: Path,
    validation: Path | None,
    init: str,
    minutes: float | None,
    precision: str,
    resize: bool,
    device: str | None,
    workers: int,
    ray_address: str | None,
    **given: Any,
) -> None:
    """Fit a normalizing flow to the images of SOURCE by maximum likelihood (eq. 2), and judge it.

    SOURCE is a folder of images or of tar files of images, a tar file, or a cache, whose 64x64 frames are taken. The
    moving average of the weights is written to --out, and in the same folder the steps as CSV, their curve and a sample
    sheet as PNG. Stopped and run again, it resumes from its checkpoint. Without --noise, codec noise becomes motion of
    the latents: do not choose a flow by bits per dimension alone, but by `s2vc-prep compare-flows`.
    """
    from s2vc.pipeline.cli.fit_session import print_figures, run_fit_with_progress
    from s2vc.pipeline.device import choose_device
    from s2vc.pipeline.flow import choose_dtype, load_flow
    from s2vc.pipeline.flow.checkpoints import NAMES
    from s2vc.pipeline.flow_fitting.fit import Fit, FitFolder, digest
    from s2vc.pipeline.flow_fitting.flow_figures import judge, sample_sheet

    console = make_console()
    if out.suffix != ".safetensors":
        raise UserError(f"--out names the flow, a .safetensors file, not {out}")
    folder = FitFolder(out)
    folder.refuse_finished()
    names = {f.name for f in dataclasses.fields(Architecture)}
    architecture = Architecture(**{k: v for k, v in given.items() if k in names})
    if init:
        architecture = load_flow(init).architecture
        init = init if init in NAMES else str(Path(init).absolute())  # workers may run in another folder
    on = choose_device(device)
    rest = {k: v for k, v in given.items() if k not in names}
    settings = FitSettings(**rest, precision=_apart(on, workers, choose_dtype, precision, on))
    images, held = _read(source, validation, resize, settings, console)
    fit = Fit(settings, architecture, init, digest(images))
    if minutes:
        some = images[: max(FEWEST, 2 * settings.batch)].clone()
        steps = folder.planned_steps() or _apart(on, workers, _steps_in, minutes, fit, some, on, max(workers, 1))
        fit = dataclasses.replace(fit, settings=dataclasses.replace(settings, steps=steps))
    on_cpus = device is not None and on.type == "cpu"
    if not run_fit_with_progress(fit, images, held, folder, on, workers, ray_address, console, on_cpus):
        raise Exit(EXIT_INTERRUPTED)
    average, skipped = folder.average(fit)
    average.for_inference(on, "float32")
    with progress("judge", 2 * len(held), "images", console, "images") as advance:
        figures = judge(average, held, settings.noise, lambda n: advance(n, n))
    sample_sheet(average, held, folder.samples)
    folder.finish(fit, average, skipped, figures)
    print_figures(figures, console)
    print_paths(console, out, folder.steps, folder.curve, folder.samples)


def _apart(device: "torch.device", workers: int, function: Callable[..., Answer], *given: Any) -> Answer:
    """Call a function that uses the device: where workers are to fit on GPUs, in a process that ends then, since this
    one would hold some of a GPU's memory to the end."""
    from s2vc.pipeline.jobs.process_pool import process_pool

    if not workers or device.type == "cpu":
        return function(*given)
    with process_pool(1, "the process that tried the GPU was killed: there may be too little memory") as pool:
        return pool.submit(function, *given).result()


def _read(
    source: Path, validation: Path | None, resize: bool, settings: FitSettings, console: Console
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Read the images to fit to, and held-out ones to judge by: (N, 3, 64, 64) uint8 each.

    Prints which images were skipped. Raises UserError if there are too few.
    """
    from s2vc.pipeline.flow_fitting.images import read_images

    found = []
    for place in filter(None, (source, validation)):
        found.append(
            read_images(place, resize, settings.seed, lambda n: progress("read", n, "images", console, "images"))
        )
        for reason in found[-1].skipped[:10]:
            console.print(f"skipped: {reason}")
        if found[-1].skipped:
            console.print(f"{len(found[-1].skipped)} of the images of {place} are damaged, and skipped")
    if len(found[0]) < FEWEST:
        raise UserError(f"{source} has {len(found[0])} images that can be read; a flow wants {FEWEST} or more")
    if validation:
        if len(found[1]) < 2:
            raise UserError(f"{validation} has {len(found[1])} images that can be read; 2 or more are wanted")
        return found[0].pixels, found[1].pixels
    return found[0].held_out(min(HELD_OUT, len(found[0]) // 10), settings.seed)


def _steps_in(minutes: float, fit: "Fit", images: "torch.Tensor", device: "torch.device", processes: int) -> int:
    """Estimate how many steps fit into `minutes` by timing a few steps on a flow that is discarded."""
    batch = max(2, fit.settings.batch // processes)
    fitting = dataclasses.replace(fit, settings=dataclasses.replace(fit.settings, batch=batch)).start(
        images, images[:2], device
    )
    spent = []
    for _ in range(TIMED_STEPS + 1):
        started = time.perf_counter()
        fitting.next()  # it reads figures of the step, so a GPU has finished when it returns
        spent.append(time.perf_counter() - started)
    return max(1, int(minutes * 60 / statistics.median(spent[1:])))

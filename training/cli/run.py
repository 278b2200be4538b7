"""`s2vc-train CACHE`."""

import dataclasses
import math
import signal
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

from manifests.errors import UserError
from pipeline.cli import EXIT_INTERRUPTED
from pipeline.cli.options import EXISTING_FILE, FOLDER, address_option, cache_argument
from pipeline.progress import Advance, clock, progress
from training.curves import plot_curves
from training.loader import EpochBatches
from training.methods import chance, check_weights, open_clips
from training.run import RunFolder, StepRecord, read_metrics
from training.settings import PRESETS, Settings, merge, read_settings_file, wanted_variants, with_defaults_filled
from training.trainer import resolve, train

CURVES_SECONDS = 30.0
"""Between two drawings of the curves."""


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each field of Settings but the cache; what is not given is None."""
    kinds = typing.get_type_hints(Settings)
    for item in reversed(dataclasses.fields(Settings)):
        if item.name != "cache":
            command = _option(item, kinds[item.name])(command)
    return command


def _option(item: "dataclasses.Field[Any]", kind: Any) -> Callable[..., Any]:
    name, choices = "--" + item.name.replace("_", "-"), item.metadata["choices"]
    told = item.metadata["help"]
    default = " ".join(map(str, item.default)) if isinstance(item.default, tuple) else str(item.default)
    if default and kind is not bool:
        told += f"  [default: {default}]"
    if kind is bool:
        return click.option(name, is_flag=True, default=None, help=told)
    if typing.get_origin(kind) is tuple:
        types = typing.get_args(kind)
        if types[-1] is Ellipsis:
            return click.option(name, type=types[0], multiple=True, help=told)
        return click.option(name, type=types, default=None, help=told, metavar="LO HI")
    return click.option(name, type=click.Choice(choices) if choices else kind, default=None, help=told)


@click.command("run")
@cache_argument
@click.option("--out", type=FOLDER, default=None, help="Folder of the run.  [default: runs/, named by the settings]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The paper's epochs and queue for a dataset.")
@click.option("--config", type=EXISTING_FILE, help="YAML file of settings; flags go over it.")
@click.option("--device", default=None, help="[default: cuda where there is a GPU, else cpu]")
@address_option
@settings_options
def run_command(
    cache: Path,
    out: Path | None,
    preset: str | None,
    config: Path | None,
    device: str | None,
    ray_address: str | None,
    **given: Any,
) -> None:
    """Pre-train a backbone on CACHE: MoCo, with motion-preserved clips as the positives of their originals.

    Writes checkpoint.pt, metrics.csv, curves.png, TensorBoard events and the resolved settings.yaml. Run again with
    the same settings and --out, it goes on where it was stopped.
    """
    console = Console()
    flags = {k: v for k, v in given.items() if v is not None and v != ()}
    layers = [PRESETS[preset] if preset else {}, read_settings_file(config) if config else {}, flags]
    settings = with_defaults_filled(merge(*layers, {"cache": str(cache)}))
    settings = with_whole_paths(settings)
    clips = open_clips(settings)
    settings, told = resolve(settings, len(clips))
    chosen = choose_device(device)
    check_weights(settings, chosen)
    folder = RunFolder(out or Path("runs") / default_name(settings))
    folder.open(settings)
    for sentence in told:
        console.print(sentence, highlight=False)
    steps = EpochBatches(len(clips), settings.batch, settings.seed).steps * settings.epochs
    console.print(
        f"{settings.method} with {settings.backbone} on {len(clips)} videos, {settings.clip_length} frames of "
        f"{settings.size}x{settings.size}: {settings.epochs} epochs, {steps} steps of {settings.batch} clips, "
        f"queue {settings.queue}; {folder.root}",
        highlight=False,
    )
    started = time.monotonic()
    with _shown(folder, steps, settings, chance(settings, clips), console) as show, stopping(console) as stop:
        if settings.workers:
            from training.cluster import train_on_ray

            train_on_ray(settings, folder, ray_address, show, stop)
        else:
            train(settings, clips, folder, chosen, show, stop)
        stopped = stop()
    _tell_end(folder, steps, stopped, time.monotonic() - started, console)


def with_whole_paths(settings: Settings) -> Settings:
    """Paths from the root, so that workers elsewhere, and a later run, mean the same files."""
    flow = settings.flow if settings.flow in ("cache", "default") else str(Path(settings.flow).absolute())
    init = str(Path(settings.init).absolute()) if settings.init else ""
    return dataclasses.replace(settings, cache=str(Path(settings.cache).absolute()), init=init, flow=flow)


def choose_device(name: str | None) -> torch.device:
    """A device by its name, by default the GPU where there is one; raises UserError where there is none such."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here: {str(error).splitlines()[0]}") from error


def default_name(settings: Settings) -> str:
    """What a run is called: cache, method, variants, backbone, seed."""
    variants = [v.name for v in wanted_variants(settings)]
    parts = [Path(settings.cache).resolve().name, settings.method, *variants, settings.backbone]
    return "-".join([*parts, f"seed{settings.seed}"])


@contextmanager
def stopping(console: Console) -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed, or SIGTERM came; a second Ctrl-C is obeyed at once."""
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        console.print("stopping after this step; once more to stop at once", highlight=False)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    except KeyboardInterrupt:
        console.print("Stopped. The last checkpoint is kept: run the same command again to go on.")
        sys.exit(EXIT_INTERRUPTED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(
    folder: RunFolder, steps: int, settings: Settings, guessed: float, console: Console
) -> Iterator[Callable[[StepRecord], None]]:
    """Progress on the screen, and the curves on disk now and then."""
    drawn = time.monotonic()
    with progress("train", steps, "steps", console, counted="clips") as advance:

        def show(record: StepRecord) -> None:
            nonlocal drawn
            _advance(advance, record, settings)
            if time.monotonic() - drawn > CURVES_SECONDS:
                plot_curves(read_metrics(folder.metrics), guessed, folder.curves)
                drawn = time.monotonic()

        yield show
    plot_curves(read_metrics(folder.metrics), guessed, folder.curves)


def _advance(advance: Advance, record: StepRecord, settings: Settings) -> None:
    advance(
        1,
        settings.batch,
        f"epoch {record.epoch}, loss {record.loss:.3f}, top-1 {record.top1:.2f}, waiting {record.data_wait:.0%}",
        record.step,
    )


def _tell_end(folder: RunFolder, steps: int, stopped: bool, seconds: float, console: Console) -> None:
    records = read_metrics(folder.metrics)
    last = records[-max(1, len(records) // 10) :]
    means = {name: sum(getattr(r, name) for r in last) / len(last) for name in ("loss", "top1", "top5", "batch_top1")}
    within = "" if math.isnan(means["batch_top1"]) else f", among a batch's keys {means['batch_top1']:.1%}"
    console.print(
        f"{records[-1].step} of {steps} steps done in {clock(seconds)}; over the last {len(last)}: loss "
        f"{means['loss']:.3f}, top-1 {means['top1']:.1%}{within}, top-5 {means['top5']:.1%}",
        highlight=False,
    )
    console.print(f"{folder.checkpoint}, {folder.metrics.name}, {folder.curves.name}", highlight=False)
    if stopped and records[-1].step < steps:
        console.print("Stopped. The checkpoint is written: run the same command again to go on.")
        sys.exit(EXIT_INTERRUPTED)

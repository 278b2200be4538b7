"""Options that the commands on a checkpoint share, and the Evaluation that they describe."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2vc.eval.defaults import ALL_SPLITS
from s2vc.eval.results_folder import check_results_folder
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.completion import complete_path
from s2vc.pipeline.console.options import FOLDER, Channel, cache_argument, device_option, threads_option
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.windows import MAX_CLIP
from s2vc.training.choices import LABEL, NORMALISATIONS, RGB, TRAIN
from s2vc.training.clip_shapes import (
    CLIP_LENGTHS,
    FRAME_STEPS,
    MAX_SIZE,
    MIN_SIZE,
    SHORTEST_CLIPS,
    SIZES,
)
from s2vc.training.settings import MAX_SEED

if TYPE_CHECKING:
    from s2vc.eval.evaluated_backbone import EvaluatedBackbone
    from s2vc.eval.evaluation import Evaluation
    from s2vc.pipeline.cache import Cache


LARGEST_ALPHA = 1e6


def _refuse_nan(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if math.isnan(value):  # No range keeps it out.
        raise click.BadParameter("it is no number")
    return value


def _refuse_all_splits(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == ALL_SPLITS:
        raise click.BadParameter(f"only s2vc-sweep takes {ALL_SPLITS}; here, name one split column")
    return value


def _check_out(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Refuse a folder that takes no results while the command line is read, before anything is computed."""
    if not ctx.resilient_parsing:  # A shell that completes a command line writes nothing.
        check_results_folder(value)
    return value


split_option = click.option(
    "--split",
    default=None,
    callback=_refuse_all_splits,
    help="Split column.  [default: the run's, where CACHE has it; else the first]",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Of all that is drawn at random."
)
alpha_option = click.option(
    "--alpha",
    type=click.FloatRange(0, LARGEST_ALPHA),
    default=0.5,
    callback=_refuse_nan,
    help="Latents with STD < alpha are static.",
)
label_option = click.option(
    "--label", default=LABEL, help="Column of the classes; another than label holds their names."
)
out_option = click.option(
    "--out", type=FOLDER, default=Path("results"), callback=_check_out, help="Folder for numbers and features."
)

_OPTIONS = (
    cache_argument,
    click.argument("checkpoint", shell_complete=complete_path),
    split_option,
    click.option(
        "--test-split",
        metavar="NAME",
        help="Part of the split that is tested on, such as val.  [default: test, or the only one besides train]",
    ),
    click.option(
        "--backbone", type=click.Choice(list(CLIP_LENGTHS)), help="[default: the one that is in the checkpoint]"
    ),
    click.option(
        "--size",
        type=click.IntRange(MIN_SIZE, MAX_SIZE),
        help="Pixels.  [default: as its run; of others' checkpoints the paper's]",
    ),
    click.option("--frames", type=click.IntRange(2, MAX_CLIP), help="Of a window.  [default: likewise]"),
    click.option("--frame-step", type=click.IntRange(1), help="Between its frames.  [default: likewise]"),
    click.option(
        "--normalise",
        type=click.Choice(list(NORMALISATIONS)),
        help="What CHECKPOINT was trained with.  [default: as its run; of others' checkpoints imagenet]",
    ),
    click.option("--mean", type=(Channel(),) * 3, metavar="R G B", help="Or its mean of channels in 0 to 1."),
    click.option("--std", type=(Channel(),) * 3, metavar="R G B", help="And their deviation."),
    seed_option,
    out_option,
    json_option,
    device_option,
    threads_option,
)


def checkpoint_command(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a function on an Evaluation, and on what is its own, with the arguments and options of all of them.
    A command that looks at labels has `label_option` as well, and one that cuts validation videos `group_option`, which
    become part of the Evaluation."""

    @functools.wraps(command)
    def with_evaluation(**given: Any) -> None:
        shared = {name: given.pop(name) for name in _SHARED & given.keys()}
        command(make_evaluation(**shared), **given)

    for option in reversed(_OPTIONS):
        with_evaluation = option(with_evaluation)
    return with_evaluation


def _open_cache(cache: Path | CacheStorage) -> "Cache":
    """Open a cache. Raises UserError where there is none, and says so where a run was given in its place."""
    from s2vc.pipeline.cache import Cache
    from s2vc.training.run_folder import RunFolder

    try:
        return Cache(cache)
    except UserError as error:
        if not isinstance(cache, Path) or not RunFolder(cache).checkpoint.is_file():
            raise
        raise UserError(f"{error}; CACHE comes first, then CHECKPOINT") from None


def make_evaluation(
    cache: Path | CacheStorage,
    checkpoint: str,
    split: str | None,
    test_split: str | None,
    backbone: str | None,
    size: int | None,
    frames: int | None,
    frame_step: int | None,
    normalise: str | None,
    mean: RGB | None,
    std: RGB | None,
    seed: int,
    out: Path,
    device: str | None,
    label: str = LABEL,
    group: str | None = None,
) -> "Evaluation":
    """Open cache and checkpoint, say what windows are looked at, and describe the evaluation that options mean.

    Raises UserError where they cannot be opened, and for options that make no evaluation.
    """
    from s2vc.eval.evaluated_backbone import load_evaluated_backbone
    from s2vc.eval.evaluation import Evaluation
    from s2vc.eval.known_videos import split_of_run

    if test_split == TRAIN:
        raise UserError(f"--test-split {TRAIN}: these videos are learned from, and are no test")
    opened = _open_cache(cache)
    evaluated = normalised_by(load_evaluated_backbone(checkpoint, backbone, seed), normalise, mean, std)
    console = make_console()
    if split is None and (split := split_of_run(opened, evaluated.origin)):
        console.print(f"videos by column {split}, as the run was trained on")
    usual = evaluated.clip or (SIZES[evaluated.name], CLIP_LENGTHS[evaluated.name], FRAME_STEPS[evaluated.name])
    size, frames, frame_step = size or usual[0], frames or usual[1], frame_step or usual[2]
    for line in (describe_windows(evaluated, size, frames, frame_step), *enlarged_notes(opened, size)):
        console.print(line)
    if frames < SHORTEST_CLIPS[evaluated.name]:
        raise UserError(
            f"windows for {evaluated.name} have {SHORTEST_CLIPS[evaluated.name]} frames or more, not {frames}"
        )
    return Evaluation(
        opened,
        checkpoint,
        evaluated,
        split,
        size,
        frames,
        frame_step,
        seed,
        out,
        console,
        label,
        test_split,
        device_name=device,
        group=group,
    )


_SHARED = set(inspect.signature(make_evaluation).parameters)
"""The options that describe an evaluation; a command's other options are its own."""


def describe_windows(evaluated: "EvaluatedBackbone", size: int, frames: int, frame_step: int) -> str:
    """Say in one line what windows are looked at, and whether the checkpoint was trained on such."""
    apart = f", {frame_step} apart," if frame_step > 1 else ""
    line = f"windows of {frames} frames{apart} of {size}x{size}"
    if evaluated.clip is None:
        paper = (SIZES[evaluated.name], CLIP_LENGTHS[evaluated.name], FRAME_STEPS[evaluated.name])
        return line + (f", the paper's for {evaluated.name}" if (size, frames, frame_step) == paper else "")
    if evaluated.clip == (size, frames, frame_step):
        return line + ", as the run was trained on"
    trained = "{}x{}, {} frames, {} apart".format(evaluated.clip[0], *evaluated.clip)
    return f"{line}; the run was trained on other clips ({trained})"


def enlarged_notes(cache: "Cache", size: int) -> list[str]:
    """Say in a line where crops of the stored frames are smaller than they are shown to the backbone; else nothing."""
    from s2vc.training.fixed_crop import fixed_crop_side

    height, width = cache.settings.frame_size
    crop = fixed_crop_side(height, width)
    line = f"frames are stored at {height}x{width}: crops of {crop} pixels are enlarged to {size}"
    return [line] if crop < size else []


def normalised_by(
    evaluated: "EvaluatedBackbone", normalise: str | None, mean: RGB | None, std: RGB | None
) -> "EvaluatedBackbone":
    """Replace what a checkpoint's clips are normalised by, where the user says so: by a name, or in numbers, which win.

    Raises UserError for numbers that make no normalisation.
    """
    named = NORMALISATIONS[normalise] if normalise else (evaluated.mean, evaluated.std)
    mean, std = mean or named[0], std or named[1]
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise UserError("--mean is three numbers, and --std three above 0, of channels in 0 to 1")
    return dataclasses.replace(evaluated, mean=mean, std=std)

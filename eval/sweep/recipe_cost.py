"""What a recipe will cost on this machine, by its counts or, once they are there, by its caches."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from s2vc.eval.defaults import ALL_SPLITS, PROTOCOL_FIELDS, TEST
from s2vc.eval.labelled import find_test_part
from s2vc.eval.sweep.cost import (
    PASSES_OF_LABELS,
    PASSES_PER_STEP,
    checkpoint_bytes,
    crops_of,
    seconds_of_clip,
    seconds_of_training,
)
from s2vc.eval.sweep.protocol import RANKED, Protocol
from s2vc.eval.sweep.recipe import Counts, PlannedSweep, Recipe, path_below
from s2vc.eval.validation import VALIDATION_SHARE
from s2vc.manifests.errors import UserError
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.settings import OWN_CACHE
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.flow import load_flow
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.jobs.encode_options import FLOW, FRAME_SIZE
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.choices import TRAIN
from s2vc.training.schedule import total_steps
from s2vc.training.settings import PRESETS, TrainingSettings, merge_settings

JPEG_BYTES = 7_700
"""A stored frame takes about so much at 128x171, and more by its pixels (docs/figures.md)."""

LATENT_BYTES = {"float16": 37_800, "float32": 62_400, "q8": 18_300}
"""The latents of a frame and its small image take about so much (docs/figures.md)."""

TIMED_FRAMES = 16
SPLITS = 3
"""UCF101 and HMDB51 have so many splits; it counts where no cache tells."""


@dataclass(frozen=True)
class EncodeCost:
    """Holds bytes of a cache on disk, and seconds of its frames in the flow."""

    bytes: int
    seconds: float


@dataclass(frozen=True)
class SweepCost:
    """Holds runs, bytes on disk, and seconds by what takes them, of a sweep of a recipe."""

    runs: int
    bytes: int
    render_seconds: float
    train_seconds: float
    test_seconds: float

    @property
    def seconds(self) -> float:
        """Add up the seconds."""
        return self.render_seconds + self.train_seconds + self.test_seconds


def cost_of_recipe(recipe: Recipe, folder: Path, over: Mapping[str, Any]) -> tuple[EncodeCost, list[SweepCost]]:
    """Estimate what encoding and each sweep of a recipe cost, one after another, with all of this machine.

    folder: of the recipe. over: options that go over those of its sweeps. Frames and clips are timed here and now;
    runs of several GPUs are taken to be spread over them.
    """
    device = choose_device()
    own = _counts(recipe, folder, OWN_CACHE, None)
    per_frame = _seconds_of_frame(device)
    height, width = map(int, str(recipe.encode.get("size", f"{FRAME_SIZE[0]}x{FRAME_SIZE[1]}")).split("x"))
    jpeg = JPEG_BYTES * height * width / (FRAME_SIZE[0] * FRAME_SIZE[1])
    stored = jpeg + LATENT_BYTES[str(recipe.encode.get("latents", "float16"))]
    timed: dict[tuple[str, int, int], float] = {}
    sweeps = []
    for sweep in recipe.sweeps:
        options = {**sweep.options, **over}
        settings = _training(options)
        shape = (settings.backbone, settings.clip_length, settings.size)
        if shape not in timed:
            timed[shape] = seconds_of_clip(settings, device)
        trained = _counts(recipe, folder, recipe.cache, options.get("split"))
        tested = trained
        if cache := options.get("eval-cache"):
            tested = _counts(recipe, folder, str(cache), options.get("eval-split"))
        cost = _cost_of_sweep(sweep, options, settings, timed[shape], per_frame, trained, tested)
        sweeps.append(cost)
    return EncodeCost(round(own.frames * stored), own.frames * per_frame), sweeps


def _cost_of_sweep(
    sweep: PlannedSweep,
    options: Mapping[str, Any],
    settings: TrainingSettings,
    clip_seconds: float,
    frame_seconds: float,
    trained: Counts,
    tested: Counts,
) -> SweepCost:
    levels = len(_listed(options.get("alphas"))) + len(_listed(options.get("keeps")))
    strategies = _listed(options.get("strategies", "zero"))
    variants = sum(max(1, levels) if name == "tfd" else levels for name in strategies)
    splits = SPLITS if options.get("split") == ALL_SPLITS else 1
    runs = (1 + variants) * int(options.get("seeds", 3)) * splits
    resolved, _ = resolve_settings(settings, max(trained.train, 2))
    steps = total_steps(resolved, max(trained.train, 2))
    evaluations = SPLITS if options.get("eval-split") == ALL_SPLITS else 1
    passes = evaluations * _passes(options, settings, tested)
    shared = "runs" in options  # Another sweep has trained them.
    at_a_time = max(1, torch.cuda.device_count())
    return SweepCost(
        runs,
        0 if shared else variants * trained.frames * LATENTS + runs * checkpoint_bytes(settings),
        0.0 if shared else variants * trained.frames * frame_seconds,
        0.0 if shared else runs * seconds_of_training(resolved, steps, clip_seconds) / at_a_time,
        runs * passes * clip_seconds / PASSES_PER_STEP / at_a_time,
    )


def _passes(options: Mapping[str, Any], settings: TrainingSettings, tested: Counts) -> float:
    """Count the windows that the evaluation of a run puts through the backbone, forward."""
    videos = tested.train + tested.test
    given = {name: options[name.replace("_", "-")] for name in PROTOCOL_FIELDS if name.replace("_", "-") in options}
    protocol = Protocol((), **given)
    passes = 0.0
    for task in map(str, _listed(options.get("eval", "retrieval"))):
        size, frames = protocol.windows_of(task, settings.size, settings.clip_length)
        windows = max(1.0, 2 * tested.frames / max(videos, 1) / (frames * settings.frame_step) - 1)
        work = frames / settings.clip_length * (size / settings.size) ** 2
        train, test = crops_of(task, protocol)
        passes += windows * (train * tested.train + test * tested.test) * work
        if task in RANKED and options.get("select") != TEST:
            held_out = tested.train * VALIDATION_SHARE
            passes += windows * (train * (tested.train - held_out) + test * held_out) * work
        if task == "finetune":
            passes += PASSES_OF_LABELS * protocol.finetune_epochs * tested.train * work
    return passes


def _training(options: Mapping[str, Any]) -> TrainingSettings:
    """Give the settings of a run of MoCo by the options of a sweep."""
    fields = TrainingSettings.__dataclass_fields__
    given = {k.replace("-", "_"): v for k, v in options.items() if k.replace("-", "_") in fields}
    given.pop("split", None)
    return merge_settings(PRESETS.get(str(options.get("preset")), {}), given, {"method": "moco"})


def _counts(recipe: Recipe, folder: Path, cache: str, split: Any) -> Counts:
    """Count the videos of a cache of a recipe: by itself where it is there, else by what the recipe says.

    split: a column; another word means the first. Raises UserError where neither tells.
    """
    path = path_below(folder, cache)
    if not (path / "cache.json").is_file():
        if cache not in recipe.counts:
            raise UserError(f"{path} is not there, and recipe {recipe.name} has no counts of {cache} to estimate by")
        return recipe.counts[cache]
    opened = Cache(path)
    index, columns = opened.index, split_columns(opened.index)
    if not columns:
        return Counts(len(index), 0, int(index["frames"].sum()))
    column = split if split in columns else columns[0]
    train, test = (int((index[column] == part).sum()) for part in (TRAIN, find_test_part(opened, column)))
    return Counts(train, test, int(index["frames"].sum()))


def _seconds_of_frame(device: torch.device) -> float:
    """Time a frame in the flow, with all cores or the GPU; encoding and decoding take as long."""
    torch.set_num_threads(os.cpu_count() or 1)
    flow = load_flow(FLOW, str(device))
    z = torch.randn(TIMED_FRAMES, LATENTS, generator=torch.Generator().manual_seed(0)).to(device)
    flow.decode(z[:4]).sum().item()
    started = time.perf_counter()
    flow.decode(z).sum().item()
    return (time.perf_counter() - started) / TIMED_FRAMES


def _listed(value: Any) -> list[Any]:
    """Give the values of an option: those of a list, of a text with commas, one, or none."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list) else [] if value is None else [value]

"""Measure training at the paper's sizes: clips/s, waiting for data, how busy the GPU is, memory; cached against MoCo
and online, with the loader and without it."""

import dataclasses
import shutil
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.clips import ClipDataset
from s2vc.training.methods import open_clips
from s2vc.training.precision import agree_on_precision
from s2vc.training.run_folder import RunFolder, read_metrics
from s2vc.training.selection import StoredVideos
from s2vc.training.settings import TrainingSettings, merge_settings
from s2vc.training.trainer import train
from tests.gpu.bare_steps import bare_steps, peak_memory
from tests.gpu.busy import BusyShare
from tests.gpu.parts import Place, Question
from tests.gpu.videos import training_cache

STEPS, WARM = 48, 12
"""So many steps are made, all of one epoch, since a loader runs dry at its end; the first, for which it starts and
fills its queue, are not counted."""

METHODS: dict[str, dict[str, Any]] = {
    "moco": {"method": "moco"},
    "cached s2vc": {"alpha": [0.5]},
    "s2vc-online": {"method": "s2vc-online", "alpha": [0.5]},
}
BACKBONES = ("r3d18", "s3d")


def training_speed(place: Place) -> dict[str, Question]:
    """Ask for the speed of each method, for R3D-18 at 16 x 112² and S3D at 32 x 128², batch 128."""
    questions: dict[str, Question] = {}
    for backbone in BACKBONES:
        questions[f"{backbone}, cached against moco"] = partial(cached_against_moco, place, backbone)
        questions[f"{backbone}, a step without a loader"] = partial(without_loader, place, backbone)
    for backbone in BACKBONES:
        online = {"backbone": backbone, **METHODS["s2vc-online"]}
        questions[f"{backbone}, s2vc-online"] = partial(with_loader, place, online)
    return questions


def training_variations(place: Place) -> dict[str, Question]:
    """Ask for the step of cached S²VC with what may make it faster or smaller, without a loader, and how it is read by
    one process."""
    variations: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "as it is": ({}, {}),
        "not channels-last": ({}, {"channels_last": False}),
        "cudnn.benchmark": ({}, {"benchmark": True}),
        "--precision float32": ({"precision": "float32"}, {}),
        "--activation-checkpointing": ({"activation_checkpointing": True}, {}),
        "--symmetric": ({"negatives": "batch", "symmetric": True}, {}),
        "--compile": ({"compile": True}, {}),  # It takes longest.
    }
    questions: dict[str, Question] = {}
    for name, (chosen, how) in variations.items():
        for backbone in BACKBONES:
            given = {"backbone": backbone, "alpha": [0.5], **chosen}
            questions[f"{backbone}, {name}"] = partial(varied, place, given, **how)
    questions["r3d18, one reader"] = partial(with_loader, place, {"alpha": [0.5], "loader_workers": 1})
    return questions


def cached_against_moco(place: Place, backbone: str) -> dict[str, Any]:
    """Train by each in turn, with the loader; return their figures and the ratio of their clips/s, 0.98 is wanted."""
    found = {name: with_loader(place, {"backbone": backbone, **METHODS[name]}) for name in ("moco", "cached s2vc")}
    return {**found, "cached / moco, clips/s": found["cached s2vc"]["clips/s"] / found["moco"]["clips/s"]}


def without_loader(place: Place, backbone: str) -> dict[str, Any]:
    """Return the steps of all methods on a batch that lies on the device, and the ratio of cached S²VC to MoCo."""
    found = {name: varied(place, {"backbone": backbone, **chosen}) for name, chosen in METHODS.items()}
    return {**found, "cached / moco, clips/s": found["cached s2vc"]["clips/s"] / found["moco"]["clips/s"]}


def varied(place: Place, chosen: dict[str, Any], channels_last: bool = True, benchmark: bool = False) -> dict[str, Any]:
    settings, clips = opened(place, chosen)
    return bare_steps(settings, clips, torch.device(place.device), channels_last, benchmark)


def opened(place: Place, chosen: dict[str, Any]) -> tuple[TrainingSettings, ClipDataset]:
    """Return the resolved settings of a run, and clips of which an epoch has STEPS steps or more."""
    shape = {"batch": 4, "size": 32, "clip_length": 8} if place.tiny else {"batch": 128}
    if place.tiny and chosen.get("backbone") == "s3d":
        shape |= {"size": 64, "clip_length": 16}
    cache = training_cache(place)
    given = {"cache": str(cache), "split": "split_neutral", "epochs": 100, "checkpoint_minutes": 1000.0, **shape}
    queue = {} if "negatives" in chosen else {"queue": 16 * shape["batch"]}
    settings = merge_settings(given, queue, chosen)
    clips = open_clips(settings)
    repeat_videos(clips, (steps_of(place) + 1) * settings.batch)
    settings, _ = resolve_settings(settings, len(clips))
    precision = agree_on_precision(settings.precision, torch.device(place.device))
    return dataclasses.replace(settings, precision=precision), clips


def steps_of(place: Place) -> int:
    return 3 if place.tiny else STEPS


def repeat_videos(clips: ClipDataset, least: int) -> None:
    """Let clips go through their videos again and again, until there are so many; each time other clips are drawn."""
    index = clips.videos.index
    clips.videos = StoredVideos(pd.concat([index] * -(-least // len(index)), ignore_index=True))


def with_loader(place: Place, chosen: dict[str, Any]) -> dict[str, Any]:
    """Train for some steps of the first epoch, as s2vc-train does; return the figures of those after the warm-up."""
    device = torch.device(place.device)
    settings, clips = opened(place, chosen)
    root = place.work / "speed"
    shutil.rmtree(root, ignore_errors=True)
    folder = RunFolder(root / "run")
    steps, warm, done, busy = steps_of(place), 1 if place.tiny else WARM, 0, BusyShare(device)

    def count(record: object) -> None:
        nonlocal done
        done += 1
        if done == warm:
            busy.start()

    if place.on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        train(settings, clips, folder, device, count, lambda: done >= steps - 1)
    finally:
        busy.stop()
    return figures_of(folder.metrics, warm, settings, busy, device)


def figures_of(
    metrics: Path, warm: int, settings: TrainingSettings, busy: BusyShare, device: torch.device
) -> dict[str, Any]:
    """Return the medians of the steps after the first `warm`."""
    records = read_metrics(metrics)[warm:]
    clips = statistics.median(r.clips_per_second for r in records)
    return {
        "clips/s": clips,
        "step, ms": 1000 * settings.batch / clips,
        "waiting for data, share": statistics.mean(r.data_wait for r in records),
        "steps counted": len(records),
        "GPU busy, share": busy.share(),
        "precision": settings.precision,
        "batch": settings.batch,
        **peak_memory(device),
    }

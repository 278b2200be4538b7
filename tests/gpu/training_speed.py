"""Measure training at the paper's sizes: clips/s, waiting for data, memory; cached against MoCo and online."""

import statistics
from pathlib import Path
from typing import Any

import torch

from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.methods import open_clips
from s2vc.training.precision import agree_on_precision
from s2vc.training.run_folder import RunFolder, read_metrics
from s2vc.training.settings import merge_settings
from s2vc.training.trainer import train
from tests.gpu.parts import Place
from tests.gpu.videos import training_cache

STEPS, WARM = 14, 4
"""So many steps are made, of which the first are not counted."""

METHODS: dict[str, dict[str, Any]] = {
    "moco": {"method": "moco"},
    "cached s2vc": {"alpha": [0.5]},
    "s2vc-online": {"method": "s2vc-online", "alpha": [0.5]},
}


def training_speed(place: Place) -> dict[str, Any]:
    """Return clips/s, waiting share and peak memory of each method, for R3D-18 at 16 x 112² and S3D at 32 x 128²."""
    cache = training_cache(place)
    return {
        f"{backbone}, {name}": measured(place, cache, {"backbone": backbone, **chosen})
        for backbone in ("r3d18", "s3d")
        for name, chosen in METHODS.items()
    }


def training_variations(place: Place) -> dict[str, Any]:
    """Return the same of cached S²VC with what may make it faster or smaller, R3D-18."""
    cache = training_cache(place)
    variations: dict[str, dict[str, Any]] = {
        "as it is": {},
        "--compile": {"compile": True},
        "--precision float32": {"precision": "float32"},
        "--activation-checkpointing": {"activation_checkpointing": True},
        "--symmetric": {"negatives": "batch", "symmetric": True},
        "one reader": {"loader_workers": 1},
    }
    return {name: measured(place, cache, {"alpha": [0.5], **chosen}) for name, chosen in variations.items()}


def measured(place: Place, cache: Path, chosen: dict[str, Any]) -> dict[str, Any]:
    """Train for a few steps; return the medians, or the error that ended it."""
    try:
        return _measured(place, cache, chosen)
    except (RuntimeError, OSError) as error:  # Memory that is too small for one shall not hide the others.
        return {"error": str(error)[:500]}


def _measured(place: Place, cache: Path, chosen: dict[str, Any]) -> dict[str, Any]:
    device = torch.device(place.device)
    shape = {"batch": 4, "size": 32, "clip_length": 8} if place.tiny else {"batch": 128}
    if place.tiny and chosen.get("backbone") == "s3d":
        shape |= {"size": 64, "clip_length": 16}
    given = {"cache": str(cache), "split": "split_neutral", "epochs": 100, "checkpoint_minutes": 1000.0, **shape}
    settings = merge_settings(given, {"queue": shape["batch"]} if "negatives" not in chosen else {}, chosen)
    clips = open_clips(settings)
    settings, _ = resolve_settings(settings, len(clips))
    name = "-".join(f"{k}{v}" for k, v in chosen.items() if k != "alpha").replace("/", "_") or "plain"
    folder = RunFolder(place.work / "speed" / name)
    for file in (folder.metrics, folder.checkpoint, folder.settings):
        file.unlink(missing_ok=True)
    if place.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    steps, done = (2 if place.tiny else STEPS), 0

    def count(record: object) -> None:
        nonlocal done
        done += 1

    train(settings, clips, folder, device, count, lambda: done >= steps - 1)
    records = read_metrics(folder.metrics)[1 if place.tiny else WARM :]
    folder.checkpoint.unlink(missing_ok=True)
    found = {
        "clips/s": statistics.median(r.clips_per_second for r in records),
        "waiting for data, share": statistics.mean(r.data_wait for r in records),
        "precision": agree_on_precision(settings.precision, device),
        "batch": settings.batch,
    }
    return found | ({"memory, GiB": torch.cuda.max_memory_allocated() / 2**30} if place.on_gpu else {})

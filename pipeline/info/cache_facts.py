"""Collect what is inside a cache, finished or not, from receipts, the index and small arrays; no latents are read."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from s2vc.manifests.table import class_names, split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.receipts import FAILED, OK, PARTIAL
from s2vc.pipeline.cache.settings import read_software
from s2vc.pipeline.info.kept_share import ALPHA_GRID, KeptShares
from s2vc.pipeline.info.shard_facts import ShardFacts, shard_facts
from s2vc.pipeline.jobs.over_shards import over_shards
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.variants import Variant

FEW_CLASSES = 20
"""If there are more classes than this, they are counted and not listed."""

IDS = 3
"""For each reason of failure this many video_ids are listed."""

STATUSES = {OK: "ok", PARTIAL: "partial", FAILED: "failed", "": "not done"}


@dataclass
class Stage:
    """Counts the shards that a stage has done, and the frames of the videos in them."""

    shards: int = 0
    frames: int = 0


@dataclass
class Survey:
    """Holds what the receipts and small arrays of a cache say.

    index: the cache's index, with status, reason and frames as its receipts are now. stages: by name. kept: for each
    variant the sum of the shares kept over its windows, and the number of windows. kept_shares: from the encoded
    shards.
    """

    cache: Cache
    variants: list[Variant]
    index: pd.DataFrame
    stages: dict[str, Stage] = field(default_factory=dict)
    kept: dict[str, tuple[float, int]] = field(default_factory=dict)
    kept_shares: KeptShares = field(default_factory=KeptShares)

    @property
    def shards(self) -> int:
        return len(self.cache.settings.shards())

    def add(self, of_shard: ShardFacts) -> None:
        """Add what a shard says."""
        for stage, frames in of_shard.frames.items():
            self.stages[stage].shards += 1
            self.stages[stage].frames += frames
        if of_shard.shares is not None:
            self.kept_shares.add(of_shard.shares)
        for name, kept in of_shard.kept.items():
            total, windows = self.kept[name]
            self.kept[name] = total + float(kept.sum(dtype=np.float64)), windows + len(kept)


def survey(cache: Cache, show: ShowProgress = no_progress) -> Survey:
    """Read what a cache says, shard by shard. show: called with the number of shards, shows progress over them.

    Raises OSError if a file that a receipt promises cannot be read.
    """
    found = Survey(cache, cache.variants(), cache.index)
    found.stages = {stage: Stage() for stage in (INGEST, ENCODE, *map(motion_stage, found.variants))}
    cache.storage.fetch_receipts(*found.stages)
    found.kept = {v.name: (0.0, 0) for v in found.variants}
    rows_of, videos = cache.settings.shards(), list[tuple[str, str, int]]()
    # What was fetched of a cache in an object store, this process alone knows.
    workers = None if isinstance(cache.storage, LocalStorage) else 1
    read = partial(shard_facts, cache.storage, found.variants)
    with show(len(rows_of)) as advance:
        for rows, of_shard in zip(rows_of, over_shards(read, range(len(rows_of)), workers), strict=True):
            found.add(of_shard)
            videos += of_shard.videos or [("", "", 0)] * len(rows)
            advance(1, of_shard.frames.get(INGEST, 0))
    columns = {name: [video[k] for video in videos] for k, name in enumerate(("status", "reason", "frames"))}
    found.index = cache.index.assign(**columns)
    return found


def facts(found: Survey) -> dict[str, Any]:
    """Return all facts, ready for JSON: numbers, text, lists and dicts. Shares are from 0 to 1, sizes in bytes."""
    cache, settings, index = found.cache, found.cache.settings, found.index
    return {
        "cache": str(cache.storage),
        "unfinished": unfinished(found),
        "videos": {name: int((index["status"] == status).sum()) for status, name in STATUSES.items()},
        "frames": int(index["frames"].sum()),
        "frame_size": list(settings.frame_size),
        "fit": settings.fit,
        "frame_step": settings.frame_step,
        "latents": settings.latents,
        "jpeg_quality": settings.jpeg_quality,
        "flow": {
            "name": settings.flow_name,
            "fingerprint": settings.flow_fingerprint,
            "precision": settings.precision,
        },
        "software": read_software(cache.storage),
        "class_count": len(set(class_names(index)) - {""}),
        "classes": classes(index),
        "splits": {c: _counts(index.loc[index[c] != "", c]) for c in split_columns(index)},
        "shards": found.shards,
        "parts": parts(found),
        "variants": variants(found),
        "failures": failures(index),
        "share_kept": share_kept(found.kept_shares),
    }


def unfinished(found: Survey) -> list[str]:
    """Return what is left to do, one line for each stage that is not done for all shards."""
    words = {INGEST: "not ingested", ENCODE: "not encoded"}
    return [
        f"{found.shards - stage.shards} of {found.shards} shards are "
        + words.get(name, f"not rendered as {name.removeprefix('motion/')}")
        for name, stage in found.stages.items()
        if stage.shards < found.shards
    ]


def classes(index: pd.DataFrame) -> list[dict[str, Any]]:
    """Count videos and frames of each class, in the order of the manifest; empty if there are more than FEW_CLASSES."""
    groups = index.groupby(class_names(index), sort=False)["frames"]
    if groups.ngroups > FEW_CLASSES:
        return []
    return [{"class_name": name, "videos": len(g), "frames": int(g.sum())} for name, g in groups]


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts(sort=False).items()}


def parts(found: Survey) -> list[dict[str, Any]]:
    """Return the bytes on disk of each part of the cache, in all and per frame of the videos in it."""
    stages = found.stages
    places = [("frames", "frames", INGEST), ("small", "small", INGEST), ("latents", "latents.zarr", ENCODE)]
    places += [(v.name, f"motion/{v.name}", motion_stage(v)) for v in found.variants]
    sizes, listed = found.cache.storage.sizes(), []
    for name, place, stage in places:
        done, size = stages[stage], sizes.get(place, 0)
        per_frame = size / done.frames if done.frames else None
        listed.append({"part": name, "bytes": size, "bytes_per_frame": per_frame, "shards_done": done.shards})
    return listed


def variants(found: Survey) -> list[dict[str, Any]]:
    """Return the rendered variants, each with the share of the latents kept, mean over its windows."""
    return [
        {"name": name, "windows": windows, "kept": total / windows if windows else None}
        for name, (total, windows) in found.kept.items()
    ]


def failures(index: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the reasons of failed and partial videos, the most frequent first, with the number of videos and the ids
    of the first ones."""
    trouble = index[index["status"].isin([FAILED, PARTIAL])]
    groups = trouble.groupby(["status", "reason"], sort=False)["video_id"]
    listed = [
        {"status": status, "reason": reason, "videos": len(ids), "first": list(ids.head(IDS))}
        for (status, reason), ids in groups
    ]
    return sorted(listed, key=lambda entry: -entry["videos"])


def share_kept(kept: KeptShares) -> dict[str, Any]:
    """Return the share kept at each alpha for each scope: mean and 10th and 90th percentile over videos, which have
    equal weight."""
    columns = {
        scope: {"mean": rounded(curve.mean), "p10": rounded(curve.low), "p90": rounded(curve.high)}
        for scope, curve in kept.curves().items()
    }
    return {"videos": kept.videos, "alphas": ALPHA_GRID.tolist(), **columns}


def rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 6) for v in values]

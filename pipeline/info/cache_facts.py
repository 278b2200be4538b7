"""What is inside a cache, finished or not: facts from receipts, the index and the small arrays; no latents are read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.receipts import FAILED, OK, PARTIAL, Receipt, VideoRecord, is_done
from s2vc.pipeline.cache.settings import read_software
from s2vc.pipeline.info.kept_share import ALPHAS, KeptShares
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.storage.hdf5 import read_part
from s2vc.pipeline.variants import Variant

FEW_CLASSES = 20
"""With more, classes are counted and not listed."""

IDS = 3
"""First ones of each reason of failure."""

STATUSES = {OK: "ok", PARTIAL: "partial", FAILED: "failed", "": "not done"}


@dataclass
class Stage:
    """How far a stage is: shards done, and the frames of the videos in them."""

    shards: int = 0
    frames: int = 0


@dataclass
class Survey:
    """What the shards of a cache say. index: that of the cache, as its receipts are now; kept: per variant, summed over
    windows, and the number of windows."""

    cache: Cache
    variants: list[Variant]
    index: pd.DataFrame
    stages: dict[str, Stage] = field(default_factory=dict)
    kept: dict[str, tuple[float, int]] = field(default_factory=dict)
    shares: KeptShares = field(default_factory=KeptShares)

    @property
    def shards(self) -> int:
        return len(self.cache.settings.shards())


def survey(cache: Cache, show: ShowProgress = no_progress) -> Survey:
    """Go through a cache, shard by shard; show: progress over so many shards.

    Raises OSError where a file that a receipt promises cannot be read.
    """
    found = Survey(cache, cache.variants(), cache.index)
    cache.layout.expect_many()
    found.stages = {stage: Stage() for stage in (INGEST, ENCODE, *map(motion_stage, found.variants))}
    found.kept = {v.name: (0.0, 0) for v in found.variants}
    columns: dict[str, list[Any]] = {"status": [], "reason": [], "frames": []}
    with show(found.shards) as advance:
        for shard, rows in enumerate(cache.settings.shards()):
            ingested = _survey_shard(found, shard)
            videos = ingested.videos if ingested else [VideoRecord("", "")] * len(rows)
            for name, values in columns.items():
                values += [getattr(video, name) for video in videos]
            advance(1, ingested.frames if ingested else 0)
    found.index = cache.index.assign(**columns)
    return found


def _survey_shard(found: Survey, shard: int) -> Receipt | None:
    """Take in a shard; its ingest receipt, if it is there."""
    layout = found.cache.layout

    def done(stage: str, before: Receipt | None) -> Receipt | None:
        receipt = is_done(layout, stage, shard, before)
        if receipt is not None:
            found.stages[stage].shards += 1
            found.stages[stage].frames += receipt.frames
        return receipt

    ingested = done(INGEST, None)
    encoded = done(ENCODE, ingested)
    if encoded is not None:
        found.shares.add(layout.latent_group(shard), np.array([v.frames for v in encoded.videos], np.int64))
    for variant in found.variants:
        if done(motion_stage(variant), encoded) is not None:
            with layout.open_motion(variant, shard) as file:
                kept = read_part(file, "kept")
            total, windows = found.kept[variant.name]
            found.kept[variant.name] = total + float(kept.sum(dtype=np.float64)), windows + len(kept)
    return ingested


def facts(found: Survey) -> dict[str, Any]:
    """All there is to say, ready for JSON: numbers, text, lists and dicts; shares lie in 0 to 1, sizes are bytes."""
    cache, settings, index = found.cache, found.cache.settings, found.index
    return {
        "cache": str(cache.layout),
        "unfinished": unfinished(found),
        "videos": {name: int((index["status"] == status).sum()) for status, name in STATUSES.items()},
        "frames": int(index["frames"].sum()),
        "frame_size": list(settings.frame_size),
        "frame_step": settings.frame_step,
        "latents": settings.latents,
        "jpeg_quality": settings.jpeg_quality,
        "flow": {
            "name": settings.flow_name,
            "fingerprint": settings.flow_fingerprint,
            "precision": settings.precision,
        },
        "software": read_software(cache.layout),
        "class_count": int(_classes(index).nunique()),
        "classes": classes(index),
        "splits": {c: _counts(index.loc[index[c] != "", c]) for c in split_columns(index)},
        "shards": found.shards,
        "parts": parts(found),
        "variants": variants(found),
        "failures": failures(index),
        "share_kept": share_kept(found.shares),
    }


def unfinished(found: Survey) -> list[str]:
    """What is left to do, a line each."""
    words = {INGEST: "not ingested", ENCODE: "not encoded"}
    return [
        f"{found.shards - stage.shards} of {found.shards} shards are "
        + words.get(name, f"not rendered as {name.removeprefix('motion/')}")
        for name, stage in found.stages.items()
        if stage.shards < found.shards
    ]


def _classes(index: pd.DataFrame) -> pd.Series:
    return index["class_name"].where(index["class_name"] != "", index["label"].astype("string").fillna(""))


def classes(index: pd.DataFrame) -> list[dict[str, Any]]:
    """Videos and frames of each class, in the order of the manifest; none where there are many classes."""
    groups = index.groupby(_classes(index), sort=False)["frames"]
    if groups.ngroups > FEW_CLASSES:
        return []
    return [{"class_name": name, "videos": len(g), "frames": int(g.sum())} for name, g in groups]


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts(sort=False).items()}


def parts(found: Survey) -> list[dict[str, Any]]:
    """Bytes on disk of each part of the cache, also per frame of the videos in it."""
    layout, stages = found.cache.layout, found.stages
    places = [("frames", "frames", INGEST), ("small", "small", INGEST), ("latents", "latents.zarr", ENCODE)]
    places += [(v.name, f"motion/{v.name}", motion_stage(v)) for v in found.variants]
    sizes, listed = layout.sizes(), []
    for name, place, stage in places:
        done, size = stages[stage], sizes.get(place, 0)
        per_frame = size / done.frames if done.frames else None
        listed.append({"part": name, "bytes": size, "bytes_per_frame": per_frame, "shards_done": done.shards})
    return listed


def variants(found: Survey) -> list[dict[str, Any]]:
    """Rendered variants, with the share of the latents kept, mean over windows."""
    return [
        {"name": name, "windows": windows, "kept": total / windows if windows else None}
        for name, (total, windows) in found.kept.items()
    ]


def failures(index: pd.DataFrame) -> list[dict[str, Any]]:
    """Reasons of failed and partial videos, the most frequent first, with how many there are and the first ids."""
    trouble = index[index["status"].isin([FAILED, PARTIAL])]
    groups = trouble.groupby(["status", "reason"], sort=False)["video_id"]
    listed = [
        {"status": status, "reason": reason, "videos": len(ids), "first": list(ids.head(IDS))}
        for (status, reason), ids in groups
    ]
    return sorted(listed, key=lambda entry: -entry["videos"])


def share_kept(shares: KeptShares) -> dict[str, Any]:
    """Share kept against alpha of each scope: mean and 10th and 90th percentile over videos of equal weight."""
    columns = {
        scope: {"mean": rounded(curve.mean), "p10": rounded(curve.low), "p90": rounded(curve.high)}
        for scope, curve in shares.curves().items()
    }
    return {"videos": shares.videos, "alphas": ALPHAS.tolist(), **columns}


def rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 6) for v in values]

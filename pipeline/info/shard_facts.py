"""Collect what the receipts and small arrays of one shard say; no latents are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.receipts import Receipt, is_done
from s2vc.pipeline.info.kept_share import shares_kept
from s2vc.pipeline.storage.hdf5 import read_part
from s2vc.pipeline.variants import Variant


@dataclass
class ShardFacts:
    """Holds what a shard's receipts and small arrays say.

    videos: status, reason and frames of each, and none where the shard is not ingested. frames: of all its videos, for
    each stage that is done. kept: for each variant that is rendered, the share kept of each window, (W,) float32.
    shares: see `shares_kept`; None where the shard is not encoded.
    """

    videos: list[tuple[str, str, int]]
    frames: dict[str, int]
    kept: dict[str, np.ndarray]
    shares: tuple[np.ndarray, np.ndarray] | None = None


def shard_facts(storage: CacheStorage, variants: Sequence[Variant], shard: int) -> ShardFacts:
    """Read what a shard says. Raises OSError if a file that a receipt promises cannot be read."""
    found = ShardFacts([], {}, {})

    def done(stage: str, before: Receipt | None) -> Receipt | None:
        receipt = is_done(storage.layout, stage, shard, before)
        if receipt is not None:
            found.frames[stage] = receipt.frames
        return receipt

    if (ingested := done(INGEST, None)) is not None:
        found.videos = [(v.status, v.reason, v.frames) for v in ingested.videos]
    if (encoded := done(ENCODE, ingested)) is not None:
        frames = np.array([v.frames for v in encoded.videos], np.int64)
        found.shares = shares_kept(storage.latent_group(shard), frames)
    for variant in variants:
        if done(motion_stage(variant), encoded) is not None:
            with storage.open_motion(variant, shard) as file:
                found.kept[variant.name] = read_part(file, "kept")
    return found

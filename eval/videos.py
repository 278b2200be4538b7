"""The videos that an analysis of a cache looks at, and how damage of what is stored of them is reported."""

from contextlib import AbstractContextManager

import numpy as np

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.layout import ENCODE

SHORT_ID = 26
"""A figure has room for so many letters of an id."""


def stored_rows(cache: Cache, frames: int = 1) -> np.ndarray:
    """Find rows of the index (N,) int64 with so many stored frames or more. Raises UserError where there is none."""
    rows = np.flatnonzero(cache.index["frames"] >= frames)
    if len(rows) == 0:
        longest = int(cache.index["frames"].max()) if len(cache.index) else 0
        raise UserError(
            f"no video of {cache.storage} has frames: see its index.csv"
            if longest == 0
            else f"no video of {cache.storage} has {frames} frames or more; the longest has {longest}"
        )
    return rows


def encoded_rows(cache: Cache, frames: int = 1) -> np.ndarray:
    """Find those of `stored_rows` whose shard is encoded, and has latents. Raises UserError where there is none."""
    rows = stored_rows(cache, frames)
    shards = cache.index["shard"].to_numpy()[rows]
    encoded = list(cache.storage.finished(ENCODE))
    rows = rows[np.isin(shards, encoded)]
    if len(rows) == 0:
        raise UserError(f"{cache.storage} has no latents: run `s2vc-prep encode` again to finish it")
    return rows


def short_id(video_id: str) -> str:
    """Cut an id to as much of its end, which tells videos apart, as a figure has room for."""
    return video_id if len(video_id) <= SHORT_ID else "…" + video_id[1 - SHORT_ID :]


def damage_reported(cache: Cache, video_id: str) -> AbstractContextManager[None]:
    """Raise UserError where the block finds that what is stored of a video is damaged."""
    return damage_as_user_error(f"what is stored of {video_id}", cache.storage)

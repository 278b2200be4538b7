"""Which videos are trained on: the rows of a cache that belong to a split, and the variants that hold the key clips."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.progress import count
from s2vc.pipeline.render_command import how_to_render
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule
from s2vc.training.choices import ALL_ROWS, LABEL, TRAIN
from s2vc.training.labels import read_labels


@dataclass(frozen=True)
class StoredVideo:
    """Locates a video: its shard, its row and first frame there, its number of frames, and its class number or -1."""

    video_id: str
    shard: int
    row: int
    first_frame: int
    frames: int
    label: int


class StoredVideos:
    """Holds the rows of an index that have frames, as arrays: a million videos are no million objects."""

    def __init__(self, index: pd.DataFrame):
        self.index = index.reset_index(drop=True)
        self._ids = self.index["video_id"].to_numpy(dtype=object)
        columns = ("shard", "row", "first_frame", "frames")
        self._locations = self.index[list(columns)].to_numpy(np.int64)
        self.labels = self.index["label"].to_numpy(np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, item: int) -> StoredVideo:
        shard, row, first, frames = (int(n) for n in self._locations[item])
        return StoredVideo(str(self._ids[item]), shard, row, first, frames, int(self.labels[item]))


def split_column(cache: Cache, split: str | None) -> str:
    """Choose the split column: the one that is given; for None the first, or ALL_ROWS where there is none.

    Raises UserError for a column that is not there.
    """
    columns = split_columns(cache.index)
    if split is None:
        return columns[0] if columns else ALL_ROWS
    if split != ALL_ROWS and split not in columns:
        raise UserError(
            f"the cache has no split {split!r}; it has {', '.join(columns) or 'none'} ({ALL_ROWS}: all rows)"
        )
    return split


def parts_to_test(cache: Cache, split: str | None, label: str | None = None) -> set[str]:
    """Name the parts of a split (None: the first) besides `train` that have videos with frames.

    label: the column of the classes, where only videos that have one count. None are named where all rows are trained
    on. Raises UserError for a column that is not there.
    """
    column = split_column(cache, split)
    if column not in cache.index:
        return set()
    usable = (cache.index["frames"] > 0).to_numpy()
    if label is not None:
        usable = usable & (read_labels(cache, label).numbers >= 0)
    return set(cache.index.loc[usable, column]) - {"", TRAIN}


def training_videos(cache: Cache, split: str | None = None, label: str = LABEL) -> StoredVideos:
    """Select the videos with frames whose `split` column says train, with the classes that the column `label` gives.

    Raises UserError where there are none, and for a column that is not there.
    """
    column = split_column(cache, split)
    numbers = read_labels(cache, label).numbers
    index = cache.index.assign(row=cache.index.groupby("shard").cumcount(), label=numbers)
    rows = index if column == ALL_ROWS else index[index[column] == TRAIN]
    if rows.empty:
        raise UserError(f"{cache.storage} has no training rows: no video has {TRAIN!r} in column {column}")
    stored = rows[rows["frames"] > 0]
    if stored.empty:
        raise UserError(f"none of the {len(rows)} training videos of {cache.storage} has frames: see its index.csv")
    return StoredVideos(stored)


def check_variants(cache: Cache, variants: Sequence[Variant], clip_length: int, frame_step: int) -> None:
    """Raise UserError where a variant is not wholly rendered, or its windows are no clips of this length and step."""
    for variant in variants:
        rule = variant.rule
        if rule.scope == "clip" and (rule.clip_length, rule.frame_step) != (clip_length, frame_step):
            wanted = dataclasses.replace(variant, rule=WindowRule("clip", clip_length, frame_step))
            raise UserError(
                f"{variant.name} holds clips of {rule.clip_length} frames, {rule.frame_step} apart, "
                f"not of {clip_length}, {frame_step} apart; take {wanted.name}, "
                f"rendered by `{how_to_render(cache.storage, wanted)}`"
            )
        if missing := cache.unrendered_shards(variant):
            known = ", ".join(v.name for v in cache.variants()) or "nothing"
            raise UserError(
                f"{variant.name} is not rendered ({count(len(missing), 'shard')} missing; rendered is {known}): "
                f"run `{how_to_render(cache.storage, variant)}`"
            )

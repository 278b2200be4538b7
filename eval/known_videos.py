"""Tested videos that are no test: those that a run was trained on, and those that lie in their own gallery."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from s2vc.eval.labelled import LabelledRows
from s2vc.manifests.errors import UserError
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.layout import INGEST
from s2vc.training.choices import ALL_ROWS, TRAIN


def split_of_run(cache: Cache, origin: Mapping[str, Any]) -> str | None:
    """Name the split column that a run was trained on, where the cache has it; else None.

    origin: what is known of the run's training (eval.evaluated_backbone).
    """
    column = origin.get("trained_split")
    return column if column in split_columns(cache.index) else None


def trained_rows(cache: Cache, origin: Mapping[str, Any]) -> np.ndarray | None:
    """Find the rows of a cache's index that a run was trained on, (N,) int64; None where the index cannot tell.

    It can where the run's split column is there, and names as many videos with frames as the run had: a cache of other
    videos may have a column of that name.
    """
    column, frames = origin.get("trained_split"), cache.index["frames"] > 0
    if column == ALL_ROWS:
        rows = np.flatnonzero(frames)
    elif column in split_columns(cache.index):
        rows = np.flatnonzero(frames & (cache.index[column] == TRAIN))
    else:
        return None
    return rows if len(rows) == origin.get("trained_videos") else None


def trained_on_note(cache: Cache, origin: Mapping[str, Any], split: str, part: str, rows: np.ndarray) -> str:
    """Say in a line how many tested videos a run was trained on, or that nothing tells; empty where it is none.

    split, part, rows: the column, the part of it that is tested, and its rows of the index (N,). Where the tested
    column is the one that the run was trained on, none of them can be.
    """
    if origin.get("trained_split") in (None, split):
        return ""
    known = trained_rows(cache, origin)
    trained_on = "all videos" if origin["trained_split"] == ALL_ROWS else f"column {origin['trained_split']}"
    if known is None:
        return f"the run was trained by {trained_on} of another cache: these {part} videos may be among them"
    count = int(np.isin(rows, known).sum())
    if count == 0:
        return ""
    return (
        f"warning: {count} of the {len(rows)} {part} videos of {split} were trained on, since the run was trained by "
        f"{trained_on}: the numbers say too much of it"
    )


def refuse_videos_in_gallery(tested: LabelledRows, gallery: LabelledRows) -> None:
    """Raise UserError where videos of another cache's gallery were made from the same files as tested ones: they would
    find themselves."""
    files = set(_source_files(gallery))
    if count := sum(file in files for file in _source_files(tested)):
        raise UserError(
            f"{count} of the {len(tested.rows)} {tested.part} videos by column {tested.split} are training videos of "
            f"{gallery.cache.storage} by its column {gallery.split}, and would find themselves: test by a --split that "
            "both caches have"
        )


def _source_files(part: LabelledRows) -> list[tuple[str, str]]:
    """Give name and hash of the file that each video was made from. Duplicates in a data set have other names."""
    cache = part.cache
    cache.storage.fetch_receipts(INGEST)
    ids = cache.index["video_id"].iloc[part.rows].tolist()
    places = [cache.shard_and_row(video) for video in ids]
    receipts = {shard: cache.storage.fetch_receipt(INGEST, shard) for shard in {shard for shard, _ in places}}
    return [
        (PurePosixPath(video).name, receipt.videos[row].sha256)
        for video, (shard, row) in zip(ids, places, strict=True)
        if (receipt := receipts[shard])
    ]

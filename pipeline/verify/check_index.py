"""Check that index.csv says what the receipts say, row by row."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.index import NUMBERS, read_index
from s2vc.pipeline.cache.receipts import VideoRecord
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.verify.problem import Checks, Problem

WHERE = "index.csv"
COLUMNS = ("video_id", "label", "class_name", *NUMBERS, "status", "reason")
COMPARED = ("status", "reason", "frames", "first_frame")
"""A receipt says what these columns of its videos are."""


def check_index(storage: CacheStorage, settings: Settings) -> Checks[pd.DataFrame | None]:
    """Check that index.csv can be read and has as many rows as cache.json says, each assigned to its shard.

    Returns the table, or None where it cannot be used and nothing can be compared with it.
    """
    try:
        index = read_index(storage)
    except UserError as error:
        yield Problem(WHERE, str(error))
        return None
    missing = [c for c in COLUMNS if c not in index.columns]
    if missing:
        yield Problem(WHERE, f"has no column {missing[0]}")
        return None
    if len(index) != settings.rows:
        # A job that was stopped while it added videos to a cache also leaves this; the next job puts it right.
        yield Problem(
            WHERE,
            f"has {len(index)} rows, the cache is made for {settings.rows}; run `s2vc-prep encode` again",
        )
        return None
    yield from _check_shard_column(index, settings)
    return index


def _check_shard_column(index: pd.DataFrame, settings: Settings) -> Iterable[Problem]:
    shards = settings.shards()
    planned = np.repeat(np.arange(len(shards)), [len(rows) for rows in shards])
    stored = index["shard"].to_numpy()
    for row in np.flatnonzero(stored != planned):
        video_id = index["video_id"].iloc[row]
        yield _problem(int(row), video_id, f"the shard is {stored[row]}, {planned[row]} is expected")


@dataclass(frozen=True)
class IndexRows:
    """Holds what index.csv says of some rows, a list a column: a cell of a DataFrame takes a hundred times as long.

    first: the number of the first of them, from 0.
    """

    first: int
    video_id: list[str]
    status: list[str]
    reason: list[str]
    frames: list[int]
    first_frame: list[int]

    @classmethod
    def of(cls, index: pd.DataFrame) -> "IndexRows":
        """Return all rows of an index."""
        return cls(0, *(index[column].tolist() for column in ("video_id", *COMPARED)))

    def part(self, rows: range) -> "IndexRows":
        """Return some rows of a whole index, by their numbers."""
        columns = (getattr(self, column)[rows.start : rows.stop] for column in ("video_id", *COMPARED))
        return IndexRows(rows.start, *columns)


def check_index_rows(stored: IndexRows, shard: int, videos: list[VideoRecord], receipt: str) -> Checks[None]:
    """Compare the rows of a shard with its ingest receipt.

    stored: the shard's rows of the index; videos: those of the receipt; receipt: its name, for messages.
    """
    if not any(stored.status) and not any(stored.frames):
        what = f"does not list shard {shard:05d} yet, which is ingested; run `s2vc-prep encode` again"
        yield Problem(WHERE, what, unfinished=True)
        return
    first_frame = 0
    for number, video in enumerate(videos):
        found = tuple(getattr(stored, column)[number] for column in COMPARED)
        expected = (video.status, video.reason, video.frames, first_frame)
        if found != expected:
            for column, cell, value in zip(COMPARED, found, expected, strict=True):
                if cell != value:
                    what = f"{column} is {cell!s}, in {receipt} it is {value}"
                    yield _problem(stored.first + number, stored.video_id[number], what)
        first_frame += video.frames


def _problem(row: int, video_id: str, what: str) -> Problem:
    return Problem(f"{WHERE}, row {row + 1} ({video_id})", what)

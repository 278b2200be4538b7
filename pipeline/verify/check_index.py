"""Check that index.csv says what the receipts say, row by row."""

from collections.abc import Iterable

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
        yield _problem(index, int(row), f"the shard is {stored[row]}, {planned[row]} is expected")


def check_index_rows(
    index: pd.DataFrame, shard: int, rows: range, videos: list[VideoRecord], receipt: str
) -> Checks[None]:
    """Compare the rows of a shard with its ingest receipt.

    rows: the shard's rows of the index; videos: those of the receipt; receipt: its name, for messages.
    """
    stored = index.iloc[rows.start : rows.stop]
    if not stored["status"].any() and not stored["frames"].any():
        what = f"does not list shard {shard:05d} yet, which is ingested; run `s2vc-prep encode` again"
        yield Problem(WHERE, what, unfinished=True)
        return
    first_frame = 0
    for row, video in zip(rows, videos, strict=True):
        expected = {
            "status": video.status,
            "reason": video.reason,
            "frames": video.frames,
            "first_frame": first_frame,
        }
        for column, value in expected.items():
            found = stored[column].iloc[row - rows.start]
            if found != value:
                yield _problem(index, row, f"{column} is {found!s}, in {receipt} it is {value}")
        first_frame += video.frames


def _problem(index: pd.DataFrame, row: int, what: str) -> Problem:
    return Problem(f"{WHERE}, row {row + 1} ({index['video_id'].iloc[row]})", what)

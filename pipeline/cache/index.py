"""index.csv says, row by row of the manifest, where its frames are and what became of it. The receipts determine it."""

import io
from collections.abc import Mapping

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import FIRST_COLUMNS, split_columns
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import INGEST
from s2vc.pipeline.cache.receipts import MAX_FRAMES, Receipt, read_receipt
from s2vc.pipeline.cache.settings import MAX_ROWS, Settings
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.failures import speaks_of_failing_storage

NUMBERS = {"shard": MAX_ROWS, "first_frame": MAX_FRAMES * MAX_ROWS, "frames": MAX_FRAMES}
"""These columns hold numbers from 0 to the maximum that is given here."""

OWN = (*NUMBERS, "status", "reason")
"""These columns are the cache's own: a manifest's column of the same name is not copied."""

MAX_INDEX = 2 << 30
"""An index of more bytes is not read."""


def ingest_receipts(storage: CacheStorage, settings: Settings) -> dict[int, Receipt]:
    """Fetch the ingest receipts, and return those that have a video for each row, by shard.

    A large cache has 15,000 receipts, so a job reads them once.
    """
    storage.fetch_receipts(INGEST)
    shards = enumerate(settings.shards())
    found = ((shard, len(rows), read_receipt(storage.layout, INGEST, shard)) for shard, rows in shards)
    return {shard: receipt for shard, rows, receipt in found if receipt is not None and len(receipt.videos) == rows}


def build_index(manifest: pd.DataFrame, settings: Settings, ingested: Mapping[int, Receipt]) -> pd.DataFrame:
    """Return the index of a manifest (all rows of the cache, in order), given the ingest receipts that exist, by shard.

    A video of a shard without a receipt has an empty status, since it is still to be done.
    """
    notes = ["video_id", "label", "class_name", *split_columns(manifest), *further_columns(manifest)]
    index = manifest[notes].copy()
    columns: dict[str, list[object]] = {c: [] for c in OWN}
    for number, rows in enumerate(settings.shards()):
        receipt = ingested.get(number)
        first = 0
        for k in range(len(rows)):
            video = receipt.videos[k] if receipt else None
            frames = video.frames if video else 0
            values = (number, first, frames, video.status if video else "", video.reason if video else "")
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            first += frames
    return index.assign(**columns)


def further_columns(table: pd.DataFrame) -> list[str]:
    """Return the text columns in which a manifest or index says more of videos than class and splits, in order."""
    known = {*FIRST_COLUMNS, *split_columns(table), *OWN}
    return [name for name in table.columns if name.strip() and name not in known]


def write_index(storage: CacheStorage, index: pd.DataFrame) -> None:
    files.write_text(storage.layout.index, index.to_csv(index=False, lineterminator="\n"))
    storage.publish(storage.layout.index)


def read_index(storage: CacheStorage) -> pd.DataFrame:
    """Return the index: text columns as text ("" where empty), label Int64 (missing where empty), numbers int64.

    Raises UserError if it is missing or damaged.
    """
    path = storage.fetch(storage.layout.index)
    try:
        text = files.read_text(path, MAX_INDEX)
        index = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        index["label"] = pd.to_numeric(index["label"].replace("", None)).astype("Int64")
        index = index.astype(dict.fromkeys(NUMBERS, "int64"))
        if not all(index[column].between(0, most).all() for column, most in NUMBERS.items()):
            raise ValueError("numbers that cannot be")
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(
            f"{path} is missing or damaged: run `s2vc-prep encode` with its manifest again, which writes it anew"
        ) from error
    return index


def refuse_changed_rows(storage: CacheStorage, settings: Settings, manifest: pd.DataFrame) -> None:
    """Raise UserError if the manifest's first rows are not the cache's; rows after them are new."""
    known, given = known_video_ids(storage, settings), manifest["video_id"].tolist()
    row = next((n for n, (a, b) in enumerate(zip(known, given, strict=False)) if a not in (b, None)), None)
    if row is not None:
        raise UserError(
            f"the manifest is not the one {storage} was made from: row {row + 1} is {given[row]!r}, in the cache "
            f"it is {known[row]!r}; rows can only be added at the end"
        )
    if len(given) < len(known):
        raise UserError(
            f"the manifest is not the one {storage} was made from: "
            f"it ends after {len(given)} rows, {len(known)} are in the cache"
        )


def known_video_ids(storage: CacheStorage, settings: Settings) -> list[str | None]:
    """Return the video_id of each row of a cache; without a readable index, those that its ingest receipts have, and
    None for the others. Raises UserError, or what the storage raises, where it is the storage that fails."""
    try:
        return list(read_index(storage)["video_id"])
    except UserError as error:
        if isinstance(error, OSError) or speaks_of_failing_storage(error):
            raise
    ingested, known = ingest_receipts(storage, settings), list[str | None]()
    for shard, rows in enumerate(settings.shards()):
        known += [v.video_id for v in ingested[shard].videos] if shard in ingested else [None] * len(rows)
    return known

"""Tested videos that are no test, since they lie in their own gallery."""

from pathlib import PurePosixPath

from s2vc.eval.labelled import LabelledRows
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import INGEST


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

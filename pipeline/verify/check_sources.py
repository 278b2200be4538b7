"""Check that each video a cache was made from is still the file that was decoded."""

from pathlib import Path

import pandas as pd

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import INGEST
from s2vc.pipeline.cache.receipts import VideoRecord, read_receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.stages.ingest_shard import Source, StorageError, find_source, sources_of
from s2vc.pipeline.storage import files
from s2vc.pipeline.verify.problem import Checks, Problem


def check_sources(
    storage: CacheStorage,
    settings: Settings,
    manifest: pd.DataFrame,
    root: Path,
    quick: bool = False,
    show: ShowProgress = no_progress,
) -> Checks[None]:
    """Compare the size and, unless `quick`, the SHA-256 of each source video with the ingest receipt of its shard.

    A changed source counts as damage of its shard, since ingesting the shard again takes the file as it is now. A
    missing source is reported without a stage to do again. show: called with the number of videos, shows progress.
    Raises StorageError if the root is empty, as a folder is where nothing is mounted.
    """
    rows = sources_of(manifest)
    storage.fetch_receipts(INGEST)
    with show(settings.rows) as advance:
        for shard, numbers in enumerate(settings.shards()):
            receipt = read_receipt(storage.layout, INGEST, shard)
            for video, row in zip(receipt.videos if receipt else [], numbers, strict=False):
                what = _change(video, rows[row], root, quick, settings.follow_links)
                if what:
                    gone = what.startswith("its source is not")
                    yield Problem(video.video_id, what, stage="" if gone else INGEST, shard=shard)
                advance(1, video.frames)


def _change(video: VideoRecord, source: Source, root: Path, quick: bool, follow_links: bool) -> str:
    """Return how a source differs from the file that was decoded, as a sentence; empty if it does not."""
    if not video.sha256:
        return ""  # the file was already missing when the shard was ingested
    try:
        path = find_source(source, root, follow_links)
    except StorageError:
        raise
    except (ValueError, OSError) as error:
        return f"its source is not there any more ({error})"
    size = path.stat().st_size
    if size != video.bytes:
        return f"its source has changed: {size} bytes, {video.bytes} when it was decoded"
    if not quick and files.sha256(path) != video.sha256:
        return "its source has changed: the same size, other bytes"
    return ""

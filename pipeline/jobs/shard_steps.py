"""What the jobs over a whole cache share: the step that a stage is on a shard, and what is kept of how it went."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout
from s2vc.pipeline.cache.log import record
from s2vc.pipeline.cache.receipts import Receipt, read_receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.cluster.scheduler import Outcome, Step
from s2vc.pipeline.stages.encode_shard import encode_shard
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from s2vc.pipeline.stages.isolate_videos import ingest_without_culprits
from s2vc.pipeline.stages.render_shard import render_shard
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant


def ingest_step(
    layout: Layout, settings: Settings, shard: int, sources: list[Source], root: Path, silence: float
) -> Step:
    """Decode the videos of a shard; one that kills its worker every time is looked for in a process of its own."""
    layout = layout.absolute()
    args = (layout, settings, shard, sources, root, silence)
    video = next((path for s in sources if os.path.exists(path := root / s.path)), root)
    return Step(
        INGEST,
        shard,
        ingest_shard,
        args,
        rescue=ingest_without_culprits,
        required_paths=(*layout.shared_paths(), video),
    )


def encode_step(layout: Layout, settings: Settings, shard: int, device: str) -> Step:
    layout = layout.absolute()
    args = (layout, settings, shard, device)
    return Step(ENCODE, shard, encode_shard, args, gpu=device == "cuda", required_paths=layout.shared_paths())


def render_step(layout: Layout, settings: Settings, shard: int, variants: list[Variant], device: str) -> Step:
    """Variants of one window rule."""
    layout = layout.absolute()
    args = (layout, settings, shard, variants, device)
    return Step("render", shard, render_shard, args, gpu=device == "cuda", required_paths=layout.shared_paths())


def ingest_receipts(layout: Layout, settings: Settings) -> dict[int, Receipt]:
    """Those that are there, by shard, with a video for each row. A large cache has 15,000: a job reads them once."""
    shards = enumerate(settings.shards())
    found = ((shard, len(rows), read_receipt(layout, INGEST, shard)) for shard, rows in shards)
    return {shard: receipt for shard, rows, receipt in found if receipt is not None and len(receipt.videos) == rows}


def recording(layout: Layout, notes: list[str], done: Callable[[Step, Any], None]) -> Callable[[Step, Any], None]:
    """done, after what the receipts of a step have to tell is kept: in `notes`, and in the cache's log."""

    def record_and_go_on(step: Step, result: Receipt | list[Receipt]) -> None:
        new = [note for receipt in (result if isinstance(result, list) else [result]) for note in receipt.notes]
        notes.extend(new)
        record(layout, new)
        done(step, result)

    return record_and_go_on


def clear_attempts(layout: Layout, outcome: Outcome) -> None:
    """Remove what workers and nodes that died have left half written; nothing of the job runs any more."""
    try:
        files.clear_attempts(layout.root)
    except OSError as error:
        outcome.storage_error = outcome.storage_error or files.describe_os_error(error)

"""The jobs share these functions: they make the step of a stage on a shard, and keep what its receipt reports."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.copies import on_copies
from s2vc.pipeline.cache.layout import ENCODE, INGEST
from s2vc.pipeline.cache.log import record
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.cluster.scheduler import Outcome, Step
from s2vc.pipeline.stages.encode_shard import encode_shard
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from s2vc.pipeline.stages.isolate_videos import ingest_without_culprits
from s2vc.pipeline.stages.render_shard import render_shard
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant

Done = Callable[[Step, Any], None]
"""This is called with each step that ends, and with its result."""


def ingest_step(
    storage: CacheStorage, settings: Settings, shard: int, sources: list[Source], root: Path, silence: float
) -> Step:
    """Return the step that decodes the videos of a shard.

    If it kills its worker every time, the video that does it is searched for, each in a process of its own.
    """
    args = (storage, settings, shard, sources, root, silence)
    video = next((path for s in sources if os.path.exists(path := root / s.path)), root)
    return Step(
        INGEST,
        shard,
        partial(on_copies, ingest_shard, ()),
        args,
        rescue=partial(on_copies, ingest_without_culprits, ()),
        required_paths=(*storage.shared_paths(), video),
    )


def encode_step(storage: CacheStorage, settings: Settings, shard: int, device: str) -> Step:
    """Return the step that encodes the small frames of a shard."""
    encode = partial(on_copies, encode_shard, ("small",))
    args = (storage, settings, shard, device)
    return Step(ENCODE, shard, encode, args, gpu=device == "cuda", required_paths=storage.shared_paths())


def render_step(storage: CacheStorage, settings: Settings, shard: int, variants: list[Variant], device: str) -> Step:
    """Return the step that renders variants of one window rule of a shard."""
    render = partial(on_copies, render_shard, ("small", "latents.zarr"))
    args = (storage, settings, shard, variants, device)
    return Step("render", shard, render, args, gpu=device == "cuda", required_paths=storage.shared_paths())


def recording(storage: CacheStorage, notes: list[str], done: Done) -> Done:
    """Return a `done` that first keeps the notes of a step's receipts, in `notes` and in the cache's log."""

    def record_and_go_on(step: Step, result: Receipt | list[Receipt]) -> None:
        new = [note for receipt in (result if isinstance(result, list) else [result]) for note in receipt.notes]
        notes.extend(new)
        record(storage, new)
        done(step, result)

    return record_and_go_on


def clear_attempts(storage: CacheStorage, outcome: Outcome) -> None:
    """Remove what workers and nodes that died have left half written; no step of the job may be running any more."""
    try:
        files.clear_attempts(storage.layout.root)
    except OSError as error:
        outcome.storage_error = outcome.storage_error or files.describe_os_error(error)

"""Repair makes damaged shards anew: the stage that is damaged, and later stages only if its new bytes differ."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.index import build_index, ingest_receipts, read_index, refuse_changed_rows, write_index
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.links import refuse_links
from s2vc.pipeline.cache.lock import locked
from s2vc.pipeline.cache.receipts import is_done, read_receipt
from s2vc.pipeline.cache.renderings import traced_variants
from s2vc.pipeline.cache.settings import Settings, read_settings
from s2vc.pipeline.choices import SILENCE_SECONDS
from s2vc.pipeline.cluster.connection import cluster, flow_device
from s2vc.pipeline.cluster.scheduler import Outcome, ShardSteps, Step, run_chains
from s2vc.pipeline.jobs.shard_steps import Done, encode_step, ingest_step, render_step
from s2vc.pipeline.stages.ingest_shard import sources_of
from s2vc.pipeline.variants import Variant


def repair(
    storage: CacheStorage,
    damaged: Sequence[tuple[int, str]],
    manifest: pd.DataFrame | None,
    root: Path | None,
    address: str | None,
    workers: int | None,
    done: Done,
    device: str | None = None,
) -> Outcome:
    """Do each damaged (shard, stage) again; done(step, result) is called as steps end.

    The same inputs give the same bytes, so what was made from the damaged files is valid again with them. Where a
    source has changed, latents and every rendered variant of its shard are made anew as well. manifest and root: where
    the videos are, which is needed for frames; rows that the cache does not have yet are left to `s2vc-prep encode`.
    Raises UserError, before anything is touched, if frames are damaged and these two are not given.
    """
    shards = sorted({shard for shard, _ in damaged})
    lost = sorted(shard for shard, stage in damaged if stage == INGEST)
    if lost and (manifest is None or root is None):
        raise UserError(
            f"frames of shard {lost[0]} are damaged, and are made from the videos: give --sources MANIFEST (and --root)"
        )
    with locked(storage):
        refuse_links(storage.layout)
        settings = read_settings(storage)
        if manifest is not None:
            refuse_changed_rows(storage, settings, manifest)
        # The index has the manifest's columns, so it can stand in for it.
        known = read_index(storage) if manifest is None else manifest.iloc[: settings.rows]
        variants = _variants(storage, shards)
        with cluster(address, workers, device):
            where, outcome = flow_device(device), Outcome()
            for shard, stage in damaged:
                storage.remove(storage.layout.receipt(stage, shard))
            if lost:
                # Their videos may begin elsewhere in frames that are made anew.
                write_index(storage, build_index(known, settings, ingest_receipts(storage, settings)))

            def run(chains: list[ShardSteps]) -> list[int]:
                """Run these steps, and return the shards that can go on."""
                more = run_chains(chains, workers, done)
                outcome.unfinished |= more.unfinished
                outcome.storage_error = outcome.storage_error or more.storage_error
                return [n for n in shards if n not in outcome.unfinished]

            left = run(_ingest_steps(storage, settings, lost, known, root))
            left = run(_encode_steps(storage, settings, left, where))
            run(_render_steps(storage, settings, {n: variants[n] for n in left}, where))
        write_index(storage, build_index(known, settings, ingest_receipts(storage, settings)))
    return outcome


def _ingest_steps(
    storage: CacheStorage, settings: Settings, shards: Sequence[int], manifest: pd.DataFrame, root: Path | None
) -> list[ShardSteps]:
    if not shards or root is None:
        return []
    rows = settings.shards()
    sources, root = sources_of(manifest), root.absolute()

    def step(n: int) -> Step:
        return ingest_step(storage, settings, n, sources[rows[n].start : rows[n].stop], root, SILENCE_SECONDS)

    return [deque([step(n)]) for n in shards]


def _variants(storage: CacheStorage, shards: Sequence[int]) -> dict[int, list[Variant]]:
    """Return the variants that each shard is rendered as, by shard."""
    known = traced_variants(storage)
    storage.fetch_receipts(*map(motion_stage, known))
    return {n: [v for v in known if storage.layout.receipt(motion_stage(v), n).exists()] for n in shards}


def _encode_steps(storage: CacheStorage, settings: Settings, shards: Sequence[int], device: str) -> list[ShardSteps]:
    storage.fetch_receipts(INGEST, ENCODE)
    layout = storage.layout
    left = [n for n in shards if is_done(layout, ENCODE, n, read_receipt(layout, INGEST, n)) is None]
    return [deque([encode_step(storage, settings, n, device)]) for n in left]


def _render_steps(
    storage: CacheStorage, settings: Settings, variants: dict[int, list[Variant]], device: str
) -> list[ShardSteps]:
    """Return a step for each window rule of a shard, for its variants that are missing or made from other latents."""
    chains: list[ShardSteps] = []
    layout = storage.layout
    storage.fetch_receipts(ENCODE, *{motion_stage(v): None for rendered in variants.values() for v in rendered})
    for shard, rendered in variants.items():
        encoded = read_receipt(layout, ENCODE, shard)
        missing = [v for v in rendered if is_done(layout, motion_stage(v), shard, encoded) is None]
        for rule in dict.fromkeys(v.rule for v in missing):
            of_rule = [v for v in missing if v.rule == rule]
            chains.append(deque([render_step(storage, settings, shard, of_rule, device)]))
    return chains

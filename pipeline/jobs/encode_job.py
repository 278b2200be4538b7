"""The encode job ingests and encodes all of a cache: it plans, runs on Ray, and checks receipts against the plan."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import read_manifest
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.index import build_index, ingest_receipts, refuse_changed_rows, write_index
from s2vc.pipeline.cache.latents import create_root
from s2vc.pipeline.cache.layout import ENCODE, INGEST
from s2vc.pipeline.cache.links import refuse_links
from s2vc.pipeline.cache.lock import locked
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.quantise import FLOAT16
from s2vc.pipeline.cache.receipts import Receipt, is_done, read_receipt
from s2vc.pipeline.cache.settings import (
    SQUEEZE,
    Settings,
    read_settings,
    refuse_other_cache_settings,
    software_versions,
    write_settings,
)
from s2vc.pipeline.cluster.connection import cluster, flow_device
from s2vc.pipeline.cluster.nodes import flow_precision
from s2vc.pipeline.cluster.scheduler import Outcome, ShardSteps, Step, run_chains
from s2vc.pipeline.cluster.step_counts import Counts
from s2vc.pipeline.flow import (
    fingerprint,
    load_flow,
    save_flow,
)
from s2vc.pipeline.jobs.encode_options import FLOW, FRAME_SIZE, SHARD_SIZE, EncodeOptions
from s2vc.pipeline.jobs.shard_steps import clear_attempts, encode_step, ingest_step, recording
from s2vc.pipeline.stages.ffmpeg_process import choose_ffmpeg, ffmpeg_version
from s2vc.pipeline.stages.ingest_shard import NO_FILE, sources_of
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import LOCK

JPEG_QUALITY = 95


@dataclass
class EncodeJob:
    """This is an encode that is planned: the steps left, and how much was done before.

    ingested: the ingest receipts, by shard. chains: the steps of each shard, which a run uses up. planned: the shards
    of the chains. notes: what the steps reported, once the job has run.
    """

    storage: CacheStorage
    settings: Settings
    manifest: pd.DataFrame
    workers: int | None
    ingested: dict[int, Receipt] = field(default_factory=dict)
    planned: list[int] = field(default_factory=list)
    chains: list[ShardSteps] = field(default_factory=list)
    videos_left: int = 0
    videos_done: int = 0
    notes: list[str] = field(default_factory=list)

    def run(self, done: Callable[[Step, Receipt], None], within: Callable[[Counts], None] | None = None) -> Outcome:
        """Run what is left; done(step, receipt) is called for each shard and stage that ends.

        within: as for run_chains.
        """
        outcome = run_chains(self.chains, self.workers, recording(self.storage, self.notes, done), within)
        clear_attempts(self.storage, outcome)
        _check_encoded(self, outcome)
        return outcome


@contextmanager
def encode_job(
    manifest_path: Path,
    root: Path,
    out: Path | CacheStorage,
    options: EncodeOptions,
    address: str | None,
    workers: int | None,
    device: str | None = None,
) -> Iterator[EncodeJob]:
    """Yield the job for a new cache of a manifest, or for one to go on with; Ray runs while the block does.

    device: "cpu" or "cuda"; None takes what there is. The cache is held against other jobs. Raises UserError if it
    cannot be made, or does not fit the manifest and options.
    """
    manifest = read_manifest(manifest_path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root} with videos")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"no permission to read the folder {root} with videos")
    storage = open_storage(out)
    _refuse_wrong_root(storage, manifest, root)
    with locked(storage):
        # Whatever can be refused is refused here, before Ray starts, which takes seconds.
        refuse_links(storage.layout)
        settings = _open(storage, manifest, options)
        with cluster(address, workers, device):
            where = flow_device(device)
            settings = settings or _create(storage, options, where, len(manifest))
            job = EncodeJob(storage, settings, manifest, workers, ingest_receipts(storage, settings))
            # Rows of what is ingested anew are said to be undone first, since their frames may change.
            _forget(job, options.retry, root)
            write_index(storage, build_index(manifest, settings, job.ingested))
            binary, refused = choose_ffmpeg()
            job.notes += [refused] if refused else []
            write_settings(storage, settings, software_versions(ffmpeg_version(binary)))
            _plan_encode(job, root.absolute(), where, options.silence)
            yield job


def _refuse_wrong_root(storage: CacheStorage, manifest: pd.DataFrame, root: Path) -> None:
    """Raise UserError if none of the videos lies under the root, unless the cache has some of them already."""
    if storage.fetch(storage.layout.settings).exists():
        return
    paths = manifest["path"].tolist()
    if not any(os.path.exists(root / path) for path in paths):  # unlike Path.exists, whatever a path is
        empty = "" if any(root.iterdir()) else ", which is empty (is it mounted?)"
        raise UserError(
            f"none of the videos, {len(paths)} in all, is in {root.absolute()}{empty}; the first would be "
            f"{root / paths[0]}. Give --root the folder that their paths start from"
        )


def _open(storage: CacheStorage, manifest: pd.DataFrame, options: EncodeOptions) -> Settings | None:
    """Return the settings of a cache to go on with, grown to the manifest, or None if a new cache can be made.

    Raises UserError if neither is possible.
    """
    files.clear_attempts(storage.layout.root)
    if not storage.fetch(storage.layout.settings).exists():
        strangers = [name for name in storage.names() if name not in _PARTS]
        if strangers:
            raise UserError(f"{storage} is no cache and not empty (it holds {strangers[0]}); choose another --out")
        load_flow(options.flow or FLOW)
        return None
    settings = read_settings(storage)
    wanted: dict[str, Any] = {
        "frame_size": options.frame_size,
        "frame_step": options.frame_step,
        "shard_size": options.shard_size,
        "precision": None if options.precision == "auto" else options.precision,
        "latents": options.latents,
        "stream": options.stream,
        "fit": options.fit,
        "flow_fingerprint": None if options.flow is None else fingerprint(load_flow(options.flow)),
    }
    refuse_other_cache_settings(settings, wanted, storage)
    refuse_changed_rows(storage, settings, manifest)
    # It changes what may be read, and no byte of what was: so it may be given later.
    settings = replace(settings, follow_links=settings.follow_links or options.follow_links)
    return settings.grown_to(len(manifest))


def _create(storage: CacheStorage, options: EncodeOptions, device: str, rows: int) -> Settings:
    name = options.flow or FLOW
    flow = load_flow(name)
    with files.attempt(storage.layout.flow) as aside:
        save_flow(flow, aside)
        aside.chmod(0o644)
    storage.publish(storage.layout.flow)
    create_root(storage.layout.all_latents)
    return Settings(
        frame_size=options.frame_size or FRAME_SIZE,
        jpeg_quality=JPEG_QUALITY,
        frame_step=options.frame_step or 1,
        shard_size=options.shard_size or SHARD_SIZE,
        flow_name=Path(name).stem,
        flow_fingerprint=fingerprint(flow),
        precision=flow_precision(options.precision, device),
        segments=(rows,),
        latents=options.latents or FLOAT16,
        stream=options.stream,
        follow_links=options.follow_links,
        fit=options.fit or SQUEEZE,
    )


# An encode that was killed before it wrote cache.json may have left these.
_PARTS = {LOCK, "jobs", "flow.safetensors", "latents.zarr", "index.csv"}


def _forget(job: EncodeJob, statuses: Collection[str], root: Path) -> None:
    """Remove the ingest receipts of shards that have videos of these statuses, or videos whose files were not there and
    are there now; the shards are then ingested again."""
    paths = dict(zip(job.manifest["video_id"], job.manifest["path"], strict=True))
    for shard, receipt in list(job.ingested.items()):
        if any(
            v.status in statuses or (v.reason == NO_FILE and os.path.exists(root / paths[v.video_id]))
            for v in receipt.videos
        ):
            job.storage.remove(job.storage.layout.receipt(INGEST, shard))
            del job.ingested[shard]


def _plan_encode(job: EncodeJob, root: Path, device: str, silence: float) -> None:
    storage, settings = job.storage, job.settings
    sources = sources_of(job.manifest)
    storage.fetch_receipts(ENCODE)
    for shard, rows in enumerate(settings.shards()):
        ingested = job.ingested.get(shard)
        if ingested and is_done(storage.layout, ENCODE, shard, ingested):
            job.videos_done += len(rows)
            continue
        job.videos_left += len(rows)
        chain: ShardSteps = deque()
        if ingested is None:
            chain.append(ingest_step(storage, settings, shard, sources[rows.start : rows.stop], root, silence))
        chain.append(encode_step(storage, settings, shard, device))
        job.chains.append(chain)
        job.planned.append(shard)


def _check_encoded(job: EncodeJob, outcome: Outcome) -> None:
    """Check the receipts against the plan, and write the index; a shard without its receipts is unfinished."""
    if not job.planned:
        return
    storage, layout = job.storage, job.storage.layout
    storage.fetch_receipts(INGEST, ENCODE)
    for shard in job.planned:
        ingested = read_receipt(layout, INGEST, shard)
        if ingested is not None:
            job.ingested[shard] = ingested
        if is_done(layout, ENCODE, shard, ingested) is None:
            outcome.unfinished.setdefault(shard, "not done")
    try:
        write_index(storage, build_index(job.manifest, job.settings, job.ingested))
    except OSError as error:
        outcome.storage_error = outcome.storage_error or files.describe_os_error(error)

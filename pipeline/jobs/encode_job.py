"""The two jobs over a whole cache: encode (ingest and flow) and render. Plan, run on Ray, check against the plan."""

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import read_manifest
from s2vc.pipeline.cache.index import build_index, refuse_changed_rows, write_index
from s2vc.pipeline.cache.latents import create_root
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout, motion_stage
from s2vc.pipeline.cache.links import refuse_links
from s2vc.pipeline.cache.lock import locked
from s2vc.pipeline.cache.log import record
from s2vc.pipeline.cache.opening import open_layout
from s2vc.pipeline.cache.quantise import FLOAT16
from s2vc.pipeline.cache.receipts import FAILED, Receipt, is_done, read_receipt
from s2vc.pipeline.cache.settings import Settings, read_settings, refuse_other, software_versions, write_settings
from s2vc.pipeline.cluster.scheduler import Chain, Outcome, Step, cluster, flow_device, run_chains
from s2vc.pipeline.flow import (
    choose_precision,
    fingerprint,
    load_flow,
    save_flow,
)
from s2vc.pipeline.stages.encode_shard import encode_shard
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard, sources_of
from s2vc.pipeline.stages.isolate_videos import ingest_without_culprits
from s2vc.pipeline.stages.render_shard import render_shard
from s2vc.pipeline.stages.video import SILENCE_SECONDS, ffmpeg_binary, ffmpeg_version
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant

FRAME_SIZE = (128, 171)
JPEG_QUALITY = 95
SHARD_SIZE = 16
FLOW = "default"


@dataclass(frozen=True)
class EncodeOptions:
    """What a user may ask of encode; None takes the cache's value, or the default for a new one."""

    frame_size: tuple[int, int] | None = None
    frame_step: int | None = None
    shard_size: int | None = None
    flow: str | None = None
    precision: str = "auto"
    latents: str | None = None
    retry_failed: bool = False
    silence: float = SILENCE_SECONDS


@dataclass
class EncodeJob:
    """An encode that is planned: the steps left, and how much was done before. ingested: receipts, by shard; planned:
    the shards of the chains, which a run uses up. notes: what its steps had to tell, once it has run."""

    layout: Layout
    settings: Settings
    manifest: pd.DataFrame
    workers: int | None
    ingested: dict[int, Receipt] = field(default_factory=dict)
    planned: list[int] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    videos_left: int = 0
    videos_done: int = 0
    notes: list[str] = field(default_factory=list)

    def run(self, done: Callable[[Step, Receipt], None]) -> Outcome:
        """Run what is left; done(step, receipt) is called for each shard and stage that ends."""
        outcome = run_chains(self.chains, self.workers, _recording(self.layout, self.notes, done))
        _clear_attempts(self.layout, outcome)
        _check_encoded(self, outcome)
        return outcome


@contextmanager
def encode_job(
    manifest_path: Path,
    root: Path,
    out: Path | Layout,
    options: EncodeOptions,
    address: str | None,
    workers: int | None,
) -> Iterator[EncodeJob]:
    """A new cache for a manifest, or one to go on with, held against other jobs; Ray runs while the block does.

    Raises UserError where the cache cannot be, or does not fit.
    """
    manifest = read_manifest(manifest_path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root} with videos")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"no permission to read the folder {root} with videos")
    layout = open_layout(out)
    with locked(layout):
        # Whatever can be refused is refused here: Ray takes seconds to start.
        refuse_links(layout)
        settings = _open(layout, manifest, options)
        with cluster(address, workers):
            where = flow_device()
            settings = settings or _create(layout, options, where, len(manifest))
            job = EncodeJob(layout, settings, manifest, workers, ingest_receipts(layout, settings))
            write_index(layout, build_index(manifest, settings, job.ingested))
            write_settings(layout, settings, software_versions(ffmpeg_version(ffmpeg_binary())))
            if options.retry_failed:
                _forget_failed(job)
            _plan_encode(job, root.absolute(), where, options.silence)
            yield job


def _open(layout: Layout, manifest: pd.DataFrame, options: EncodeOptions) -> Settings | None:
    """The settings of a cache to go on with, grown to the manifest; None where a new one can be made.

    Raises UserError where neither is possible.
    """
    files.clear_attempts(layout.root)
    if not layout.settings.exists():
        strangers = [name for name in layout.names() if name not in _PARTS]
        if strangers:
            raise UserError(f"{layout} is no cache and not empty (it holds {strangers[0]}); choose another --out")
        load_flow(options.flow or FLOW)
        return None
    settings = read_settings(layout)
    wanted: dict[str, Any] = {
        "frame_size": options.frame_size,
        "frame_step": options.frame_step,
        "shard_size": options.shard_size,
        "precision": None if options.precision == "auto" else options.precision,
        "latents": options.latents,
        "flow_fingerprint": None if options.flow is None else fingerprint(load_flow(options.flow)),
    }
    refuse_other(settings, wanted, layout)
    refuse_changed_rows(layout, manifest)
    return settings.grown_to(len(manifest))


def _create(layout: Layout, options: EncodeOptions, device: str, rows: int) -> Settings:
    name = options.flow or FLOW
    flow = load_flow(name)
    with files.attempt(layout.flow) as aside:
        save_flow(flow, aside)
        aside.chmod(0o644)
    layout.publish(layout.flow)
    create_root(layout.all_latents)
    return Settings(
        frame_size=options.frame_size or FRAME_SIZE,
        jpeg_quality=JPEG_QUALITY,
        frame_step=options.frame_step or 1,
        shard_size=options.shard_size or SHARD_SIZE,
        flow_name=Path(name).stem,
        flow_fingerprint=fingerprint(flow),
        precision=choose_precision(options.precision, device),
        segments=(rows,),
        latents=options.latents or FLOAT16,
    )


# What an encode that was killed before it wrote cache.json may have left.
_PARTS = {".lock", "jobs", "flow.safetensors", "latents.zarr", "index.csv"}


def ingest_receipts(layout: Layout, settings: Settings) -> dict[int, Receipt]:
    """Those that are there, by shard, with a video for each row. A large cache has 15,000: a job reads them once."""
    shards = enumerate(settings.shards())
    found = ((shard, len(rows), read_receipt(layout, INGEST, shard)) for shard, rows in shards)
    return {shard: receipt for shard, rows, receipt in found if receipt is not None and len(receipt.videos) == rows}


def _forget_failed(job: EncodeJob) -> None:
    """Shards with failed rows are to be ingested again."""
    for shard, receipt in list(job.ingested.items()):
        if any(v.status == FAILED for v in receipt.videos):
            job.layout.withdraw(job.layout.receipt(INGEST, shard))
            del job.ingested[shard]


def ingest_step(
    layout: Layout, settings: Settings, shard: int, sources: list[Source], root: Path, silence: float
) -> Step:
    """Decode the videos of a shard; one that kills its worker every time is looked for in a process of its own."""
    layout = layout.absolute()
    args = (layout, settings, shard, sources, root, silence)
    video = next((path for s in sources if os.path.exists(path := root / s.path)), root)
    return Step(INGEST, shard, ingest_shard, args, rescue=ingest_without_culprits, sees=(*layout.seen_by_all(), video))


def encode_step(layout: Layout, settings: Settings, shard: int, device: str) -> Step:
    layout = layout.absolute()
    args = (layout, settings, shard, device)
    return Step(ENCODE, shard, encode_shard, args, gpu=device == "cuda", sees=layout.seen_by_all())


def render_step(layout: Layout, settings: Settings, shard: int, variants: list[Variant], device: str) -> Step:
    """Variants of one window rule."""
    layout = layout.absolute()
    args = (layout, settings, shard, variants, device)
    return Step("render", shard, render_shard, args, gpu=device == "cuda", sees=layout.seen_by_all())


def _plan_encode(job: EncodeJob, root: Path, device: str, silence: float) -> None:
    layout, settings = job.layout, job.settings
    sources = sources_of(job.manifest)
    for shard, rows in enumerate(settings.shards()):
        ingested = job.ingested.get(shard)
        if ingested and is_done(layout, ENCODE, shard, ingested):
            job.videos_done += len(rows)
            continue
        job.videos_left += len(rows)
        chain: Chain = deque()
        if ingested is None:
            chain.append(ingest_step(layout, settings, shard, sources[rows.start : rows.stop], root, silence))
        chain.append(encode_step(layout, settings, shard, device))
        job.chains.append(chain)
        job.planned.append(shard)


def _recording(layout: Layout, notes: list[str], done: Callable[[Step, Any], None]) -> Callable[[Step, Any], None]:
    """done, after what the receipts of a step have to tell is kept: in `notes`, and in the cache's log."""

    def record_and_go_on(step: Step, result: Receipt | list[Receipt]) -> None:
        told = [note for receipt in (result if isinstance(result, list) else [result]) for note in receipt.notes]
        notes.extend(told)
        record(layout, told)
        done(step, result)

    return record_and_go_on


def _clear_attempts(layout: Layout, outcome: Outcome) -> None:
    """Remove what workers and nodes that died have left half written; nothing of the job runs any more."""
    try:
        files.clear_attempts(layout.root)
    except OSError as error:
        outcome.storage_error = outcome.storage_error or files.told(error)


def _check_encoded(job: EncodeJob, outcome: Outcome) -> None:
    """Check the receipts against the plan: one that is missing without a reason is an error, not silence."""
    job.layout.refresh()
    for shard in job.planned:
        ingested = read_receipt(job.layout, INGEST, shard)
        if ingested is not None:
            job.ingested[shard] = ingested
        if is_done(job.layout, ENCODE, shard, ingested) is None:
            outcome.unfinished.setdefault(shard, "not done")
    if job.planned:
        try:
            write_index(job.layout, build_index(job.manifest, job.settings, job.ingested))
        except OSError as error:
            outcome.storage_error = outcome.storage_error or files.told(error)


@dataclass
class RenderJob:
    """A render that is planned: the steps left, and how many frames they write, over all variants. planned: the shards
    of the chains, which a run uses up. notes: what its steps had to tell, once it has run."""

    layout: Layout
    settings: Settings
    variants: list[Variant]
    workers: int | None = None
    planned: list[int] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    frames_left: int = 0
    shards_done: int = 0
    notes: list[str] = field(default_factory=list)

    def run(self, done: Callable[[Step, list[Receipt]], None]) -> Outcome:
        """Run what is left; done(step, receipts) is called for each shard that ends, a receipt for each variant."""
        outcome = run_chains(self.chains, self.workers, _recording(self.layout, self.notes, done))
        self.layout.refresh()
        for shard in self.planned:
            encoded = read_receipt(self.layout, ENCODE, shard)
            if any(is_done(self.layout, motion_stage(v), shard, encoded) is None for v in self.variants):
                outcome.unfinished.setdefault(shard, "not done")
        _clear_attempts(self.layout, outcome)
        return outcome

    def on_gpus(self) -> None:
        """Have every step run on a GPU."""
        for chain in self.chains:
            chain[0] = dataclasses.replace(chain[0], args=(*chain[0].args[:-1], "cuda"), gpu=True)


def plan_render(layout: Layout, variants: list[Variant], shards: Sequence[int] | None = None) -> RenderJob:
    """What is left to render, of these shards or of all. Raises UserError where they are not completely encoded."""
    job = RenderJob(layout, read_settings(layout), variants)
    layout.expect_many()
    for shard in range(len(job.settings.shards())) if shards is None else shards:
        encoded = is_done(layout, ENCODE, shard, read_receipt(layout, INGEST, shard))
        if encoded is None:
            raise UserError(f"{layout} is not completely encoded: run `s2vc-prep encode` again to finish it")
        missing = [v for v in variants if is_done(layout, motion_stage(v), shard, encoded) is None]
        if not missing:
            job.shards_done += 1
            continue
        rows = sum(len(w) for video in encoded.videos for w in variants[0].rule.windows(video.frames))
        job.frames_left += rows * len(missing)
        job.chains.append(deque([render_step(layout, job.settings, shard, missing, "cpu")]))
        job.planned.append(shard)
    return job


@contextmanager
def render_job(
    layout: Layout, variants: list[Variant], address: str | None, workers: int | None
) -> Iterator[RenderJob]:
    """Variants of one window rule to render or finish; the cache is held, and Ray runs, while the block does."""
    read_settings(layout)  # where there is no cache, none is begun by holding it
    with locked(layout):
        # Whatever can be refused is refused here: Ray takes seconds to start.
        refuse_links(layout)
        job = plan_render(layout, variants)
        job.workers = workers
        files.clear_attempts(layout.root)
        for variant in variants:
            files.write_json(layout.variant_settings(variant), variant.to_json())
            layout.publish(layout.variant_settings(variant))
        with cluster(address, workers):
            if job.chains and flow_device() == "cuda":
                job.on_gpus()
            yield job

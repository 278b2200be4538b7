"""Run the jobs over a whole cache with progress and a summary, and end with an exit code if not all is well."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import ENCODE, INGEST
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cache.renderings import kept_share
from s2vc.pipeline.cluster.scheduler import Step
from s2vc.pipeline.console.endings import print_failed_videos, print_notes, print_unfinished
from s2vc.pipeline.console.progress import clock, count, progress, size
from s2vc.pipeline.console.step_tally import StepTally
from s2vc.pipeline.console.terminal import print_result
from s2vc.pipeline.info.kept_share import expected_share
from s2vc.pipeline.jobs.encode_job import encode_job
from s2vc.pipeline.jobs.encode_options import EncodeOptions
from s2vc.pipeline.jobs.estimate import estimate_render
from s2vc.pipeline.jobs.render_job import count_videos, plan_render, render_job
from s2vc.pipeline.variants import Variant

SAMPLED_SHARDS = 200
"""The share kept is read from so many shards at most: a large cache has 15,000."""

NEARLY_NOTHING = 0.005
"""Where a variant keeps less than this share of the latents, a line says so."""

Report = Callable[[dict[str, Any]], None]
"""Takes the summary of a job, ready for JSON."""


def ignore(summary: dict[str, Any]) -> None:
    """Do nothing with a summary."""


def run_encode(
    manifest: Path,
    root: Path,
    out: Path | CacheStorage,
    options: EncodeOptions,
    address: str | None,
    workers: int | None,
    console: Console,
    report: Report = ignore,
    device: str | None = None,
) -> None:
    """Encode with progress and a summary.

    Ends with exit code 1 if a shard is not done or storage fails, and 3 if a video failed.
    """
    started = time.monotonic()
    with encode_job(manifest, root, out, options, address, workers, device) as job:
        console.print(
            f"{count(job.videos_left, 'video')} to do in {count(len(job.chains), 'shard')}, "
            f"{job.videos_done} done before (started in {clock(time.monotonic() - started)})",
        )
        with progress("encode", job.videos_left, "videos", console) as advance:
            tally = StepTally(advance, ENCODE, INGEST)

            def done(step: Step, receipt: Receipt) -> None:
                tally.ended(step.stage, step.shard, len(receipt.videos), receipt.frames)

            outcome = job.run(done, tally.within)
    print_notes(job.notes, console)
    if outcome.storage_error:
        print_unfinished(outcome, console)  # it ends here, since counts read from failing storage may be wrong
    cache = Cache(out)
    summarise(cache, bool(job.planned), console, time.monotonic() - started)
    report(encode_summary(cache))
    print_unfinished(outcome, console)
    print_failed_videos(cache.index, console)


def summarise(cache: Cache, changed: bool, console: Console, seconds: float) -> None:
    """Print how many videos and frames a cache has, and, if it has changed, its size.

    The size is measured only then, since a large cache has 200,000 files.
    """
    index = cache.index
    counts = index["status"].value_counts()
    parts = [f"{counts.get(s, 0)} {s}" for s in ("ok", "partial", "failed")]
    if counts.get("", 0):
        parts.append(f"{counts['']} not done")
    stored = f"; {size(sum(cache.storage.sizes().values()))}" if changed else ""
    videos, frames = count(len(index), "video"), count(int(index["frames"].sum()), "frame")
    print_result(console, f"{videos}: {', '.join(parts)}; {frames}{stored}; {clock(seconds)}")
    print_result(console, str(cache.storage))


def encode_summary(cache: Cache) -> dict[str, Any]:
    """Count the videos of a cache by status, and list those that are not ok, ready for JSON."""
    index = cache.index
    trouble = index.loc[index["status"] != "ok", ["video_id", "status", "frames", "reason"]]
    counts = {str(status) or "not done": int(n) for status, n in index["status"].value_counts().items()}
    listed = json.loads(trouble.to_json(orient="records"))
    return {"cache": str(cache.storage), "videos": counts, "frames": int(index["frames"].sum()), "trouble": listed}


def print_estimate(
    storage: CacheStorage, variants: list[Variant], workers: int | None, console: Console, report: Report = ignore
) -> None:
    """Print how much rendering there is to do, what it will keep, and the disk space and time that it will take."""
    job = plan_render(storage, variants)
    job.workers = workers
    cache = Cache(storage)
    expected = [expected_share(cache, variant, SAMPLED_SHARDS) for variant in variants]
    estimate = estimate_render(job)
    names = ", ".join(v.name for v in variants)
    print_result(
        console, f"{names}: {count(job.frames_left, 'frame')} to render in {count(len(job.shards_left), 'shard')}"
    )
    print_result(
        console,
        f"at most {size(estimate.bytes)} on disk, and about {clock(estimate.seconds)} on "
        f"{count(estimate.cores, 'core')} here "
        f"({estimate.seconds_per_frame * 1000:.1f} ms a frame and core for the flow, measured just now)",
    )
    for variant, share in zip(variants, expected, strict=True):
        if share is not None:
            print_result(console, f"{variant.name} keeps about {share:.1%} of the latents")
            _warn_of_nothing(storage, share, console)
    names_given = [v.name for v in variants]
    report({"variants": names_given, "frames": job.frames_left, "bytes": estimate.bytes, "seconds": estimate.seconds})


def _warn_of_nothing(storage: CacheStorage, share: float | None, console: Console) -> None:
    """Print a line where a variant keeps nearly nothing."""
    if share is not None and share < NEARLY_NOTHING:
        console.print(f"  nearly nothing is left of a clip; `s2vc-prep info {storage}` shows what other alphas keep")


def run_render(
    cache: Path | CacheStorage,
    variants: list[Variant],
    address: str | None,
    workers: int | None,
    console: Console,
    report: Report = ignore,
    device: str | None = None,
) -> None:
    """Render with progress and a summary; end with exit code 1 if a shard is not done or storage fails."""
    started = time.monotonic()
    storage = open_storage(cache)
    with render_job(storage, variants, address, workers, device) as job:
        console.print(
            f"{count(len(variants), 'variant')}, {count(job.frames_left, 'frame')} to render in "
            f"{count(len(job.shards_left), 'shard')}, {count(job.shards_done, 'shard')} done before",
        )
        with progress("render", job.videos_left, "videos", console) as advance:
            tally = StepTally(advance, "render")

            def done(step: Step, receipts: list[Receipt]) -> None:
                tally.ended(step.stage, step.shard, count_videos(receipts[0]), sum(r.frames for r in receipts))

            outcome = job.run(done, tally.within)
    print_notes(job.notes, console)
    if outcome.storage_error:
        print_unfinished(outcome, console)
    sizes = storage.sizes("motion")
    rendered = []
    for variant in variants:
        share = kept_share(storage, variant, SAMPLED_SHARDS)
        rendered.append({"name": variant.name, "bytes": sizes.get(f"motion/{variant.name}", 0), "kept": share})
        kept = "" if share is None else f", keeps {share:.1%} of the latents"
        print_result(console, f"{variant.name}: {size(sizes.get(f'motion/{variant.name}', 0))}{kept}")
        _warn_of_nothing(storage, share, console)
    console.print(f"rendered in {clock(time.monotonic() - started)}")
    report({"cache": str(storage), "variants": rendered})
    print_unfinished(outcome, console)

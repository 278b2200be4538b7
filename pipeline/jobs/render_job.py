"""The render job renders variants of all of a cache: it plans, runs on Ray, and checks receipts against the plan."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.links import refuse_links
from s2vc.pipeline.cache.lock import locked
from s2vc.pipeline.cache.receipts import Receipt, is_done, read_receipt
from s2vc.pipeline.cache.settings import Settings, read_settings
from s2vc.pipeline.cluster.connection import cluster, flow_device
from s2vc.pipeline.cluster.scheduler import Outcome, ShardSteps, Step, run_chains
from s2vc.pipeline.cluster.step_counts import Counts
from s2vc.pipeline.jobs.shard_steps import clear_attempts, recording, render_step
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant


@dataclass
class RenderJob:
    """This is a render that is planned.

    shards_left: the shards that lack variants, with those they lack. videos_left: the videos in them that have frames.
    frames_left: how many frames these will be, over all variants; frames_to_decode: those that the flow decodes.
    device: "cpu" or "cuda"; None takes what there is.
    notes: what the steps reported, once the job has run.
    """

    storage: CacheStorage
    settings: Settings
    variants: list[Variant]
    workers: int | None = None
    device: str | None = None
    shards_left: list[tuple[int, list[Variant]]] = field(default_factory=list)
    videos_left: int = 0
    frames_left: int = 0
    frames_to_decode: int = 0
    shards_done: int = 0
    notes: list[str] = field(default_factory=list)

    def run(
        self, done: Callable[[Step, list[Receipt]], None], within: Callable[[Counts], None] | None = None
    ) -> Outcome:
        """Run what is left; done(step, receipts) is called for each shard that ends, with a receipt for each variant;
        within: see run_chains.

        Ray has to run, since only then is it known whether there is a GPU.
        """
        device = flow_device(self.device) if self.shards_left else "cpu"
        chains: list[ShardSteps] = [
            deque([render_step(self.storage, self.settings, shard, variants, device)])
            for shard, variants in self.shards_left
        ]
        outcome = run_chains(chains, self.workers, recording(self.storage, self.notes, done), within)
        layout, stages = self.storage.layout, [motion_stage(v) for v in self.variants]
        if self.shards_left:
            self.storage.fetch_receipts(ENCODE, *stages)
        for shard, _ in self.shards_left:
            encoded = read_receipt(layout, ENCODE, shard)
            if any(is_done(layout, stage, shard, encoded) is None for stage in stages):
                outcome.unfinished.setdefault(shard, "not done")
        clear_attempts(self.storage, outcome)
        return outcome


def count_videos(receipt: Receipt) -> int:
    """Count the videos of a shard that have frames."""
    return sum(video.frames > 0 for video in receipt.videos)


def plan_render(storage: CacheStorage, variants: list[Variant], shards: Sequence[int] | None = None) -> RenderJob:
    """Plan what is left to render, of these shards or of all. Raises UserError if they are not completely encoded."""
    job = RenderJob(storage, read_settings(storage), variants)
    layout = storage.layout
    storage.fetch_receipts(INGEST, ENCODE, *map(motion_stage, variants))
    for shard in range(len(job.settings.shards())) if shards is None else shards:
        encoded = is_done(layout, ENCODE, shard, read_receipt(layout, INGEST, shard))
        if encoded is None:
            raise UserError(f"{storage} is not completely encoded: run `s2vc-prep encode` again to finish it")
        missing = [v for v in variants if is_done(layout, motion_stage(v), shard, encoded) is None]
        if not missing:
            job.shards_done += 1
            continue
        rows = sum(len(w) for video in encoded.videos for w in variants[0].rule.windows(video.frames))
        job.videos_left += count_videos(encoded)
        job.frames_left += rows * len(missing)
        job.frames_to_decode += rows * sum(v.strategy != "tfd" for v in missing)
        job.shards_left.append((shard, missing))
    return job


@contextmanager
def render_job(
    storage: CacheStorage,
    variants: list[Variant],
    address: str | None,
    workers: int | None,
    device: str | None = None,
) -> Iterator[RenderJob]:
    """Yield the job that renders or finishes variants of one window rule; the cache is held and Ray runs meanwhile."""
    read_settings(storage)  # this raises where there is no cache, before the lock makes a folder
    with locked(storage):
        # Whatever can be refused is refused here, before Ray starts, which takes seconds.
        refuse_links(storage.layout)
        job = plan_render(storage, variants)
        job.workers, job.device = workers, device
        files.clear_attempts(storage.layout.root)
        for variant in variants:
            path = storage.layout.variant_settings(variant)
            files.write_json(path, variant.to_json())
            storage.publish(path)
        with cluster(address, workers, device if job.shards_left else None):
            yield job

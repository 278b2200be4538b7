"""Check a shard stage by stage: its receipts, the files that they name, and the contents of those files."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout, motion_stage
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.verify.check_corrections import check_corrections
from s2vc.pipeline.verify.check_frames import check_frames, check_small
from s2vc.pipeline.verify.check_index import WHERE as INDEX
from s2vc.pipeline.verify.check_index import IndexRows, check_index_rows
from s2vc.pipeline.verify.check_latents import check_latents, latent_files, zarr_shards
from s2vc.pipeline.verify.check_receipts import check_files, check_inputs, check_receipt, receipt_name
from s2vc.pipeline.verify.foreign import check_group
from s2vc.pipeline.verify.problem import Checks, Problem, guarded

T = TypeVar("T")


@dataclass
class ShardCheck:
    """Checks one shard.

    A stage is checked only if the stage before it is done, and a file's contents only if its hash is right, so that
    one fault is reported once.
    rows: those of the shard in index.csv. frames: the number of stored frames, known after `run`. unrendered: the
    variants that are still to be rendered for the shard, which is encoded.
    """

    layout: Layout
    settings: Settings
    shard: int
    rows: IndexRows
    quick: bool
    frames: int = 0
    unrendered: list[Variant] = field(default_factory=list)

    def run(self, variants: Sequence[Variant]) -> Checks[None]:
        """Yield the problems of ingest, of encode and of each rendered variant."""
        ingested = yield from self._of(INGEST, self._ingest())
        encoded = (yield from self._of(ENCODE, self._encode(ingested))) if ingested else None
        if encoded is None:
            return
        for variant in variants:
            if self.layout.receipt(motion_stage(variant), self.shard).exists():
                yield from self._of(motion_stage(variant), self._motion(variant, encoded))
            else:
                self.unrendered.append(variant)

    def _of(self, stage: str, checks: Checks[T]) -> Checks[T]:
        """Yield the problems of a stage, marked with the stage and shard to do again.

        Unfinished work and problems of index.csv are not marked: the index is derived from the receipts, and written
        anew without doing the stage again.
        """
        while True:
            try:
                problem = next(checks)
            except StopIteration as end:
                return cast(T, end.value)
            derived = problem.unfinished or problem.where.startswith(INDEX)
            yield problem if derived else replace(problem, stage=stage, shard=self.shard)

    def _ingest(self) -> Checks[Receipt | None]:
        receipt = yield from self._receipt(INGEST)
        if receipt is None:
            return None
        self.frames, videos = receipt.frames, receipt.videos
        yield from check_index_rows(self.rows, self.shard, videos, receipt_name(self.layout, INGEST, self.shard))
        frames, small = self.layout.frames(self.shard), self.layout.small(self.shard)
        well = yield from self._files(receipt, [frames, small])
        if self.layout.key(frames) in well:
            where = self.layout.key(frames)
            yield from guarded(where, check_frames, frames, where, self.settings.frame_size, videos)
        if self.layout.key(small) in well:
            yield from guarded(self.layout.key(small), check_small, small, videos)
        return receipt

    def _encode(self, ingested: Receipt) -> Checks[Receipt | None]:
        receipt = yield from self._receipt(ENCODE)
        if receipt is None:
            return None
        inputs = [self.layout.key(self.layout.small(self.shard))]
        if not (yield from check_inputs(self.layout, receipt, ingested, inputs)):
            return None
        # A receipt may claim any number of frames, so the number of files it names bounds the work done here.
        if zarr_shards(receipt.frames) > len(receipt.files):
            where = receipt_name(self.layout, ENCODE, self.shard)
            yield Problem(where, f"names too few files for {receipt.frames} frames")
            return None
        group, name = self.layout.latents(self.shard), self.layout.key(self.layout.latents(self.shard))
        expected = latent_files(receipt.frames, len(receipt.videos), self.settings.latents)
        sizes = {f"{name}/{file}": size for file, size in expected.items()}
        well = yield from check_files(self.layout, receipt, sizes, self.quick)
        yield from check_group(self.layout, group, expected)
        if len(well) == len(sizes):
            yield from guarded(name, check_latents, group, name, receipt.videos, self.settings.latents)
        return receipt

    def _motion(self, variant: Variant, encoded: Receipt) -> Checks[None]:
        receipt = yield from self._receipt(motion_stage(variant))
        if receipt is None:
            return
        if not (yield from check_inputs(self.layout, receipt, encoded, list(encoded.files))):
            return
        path = self.layout.motion(variant, self.shard)
        name = self.layout.key(path)
        if name in (yield from self._files(receipt, [path])):
            yield from guarded(name, check_corrections, path, name, variant, receipt.videos, self.quick)

    def _receipt(self, stage: str) -> Checks[Receipt | None]:
        if not self.layout.receipt(stage, self.shard).exists():
            what = f"is not done ({stage}); run `s2vc-prep encode` again"
            yield Problem(f"shard {self.shard:05d}", what, unfinished=True)
            return None
        return (yield from check_receipt(self.layout, stage, self.shard, self.rows.video_id))

    def _files(self, receipt: Receipt, paths: list[Path]) -> Checks[set[str]]:
        return (yield from check_files(self.layout, receipt, {self.layout.key(p): None for p in paths}, self.quick))


@dataclass(frozen=True)
class CheckedShard:
    """Holds the problems of a shard and, as ShardCheck has them, its frames and the variants that are unrendered."""

    problems: list[Problem]
    frames: int
    unrendered: list[Variant]


def check_shard(variants: Sequence[Variant], check: ShardCheck) -> CheckedShard:
    """Run the check of a shard of a cache that has these variants."""
    problems = list(check.run(variants))
    return CheckedShard(problems, check.frames, check.unrendered)

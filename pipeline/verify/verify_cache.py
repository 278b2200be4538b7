"""Verify a whole cache for `s2vc-prep verify`: check every invariant of its format against the stored files."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from s2vc.pipeline.cache.cache_storage import CacheStorage, LocalStorage
from s2vc.pipeline.cache.lock import without_writers
from s2vc.pipeline.cache.remote_storage import RemoteStorage
from s2vc.pipeline.cache.renderings import traced_variants
from s2vc.pipeline.cache.settings import Settings, no_cache
from s2vc.pipeline.jobs.over_shards import over_shards
from s2vc.pipeline.render_command import how_to_render
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.verify.check_corrections import check_variant_settings
from s2vc.pipeline.verify.check_index import IndexRows, check_index
from s2vc.pipeline.verify.check_latents import check_root
from s2vc.pipeline.verify.check_remote import RemoteShards
from s2vc.pipeline.verify.check_settings import check_flow, check_settings
from s2vc.pipeline.verify.check_shard import ShardCheck, check_shard
from s2vc.pipeline.verify.foreign import check_foreign
from s2vc.pipeline.verify.problem import Problem, guarded

__all__ = ["Problem", "check_shards", "verify_cache"]


def verify_cache(
    storage: CacheStorage, quick: bool = False, show: ShowProgress = no_progress, workers: int | None = None
) -> Iterator[Problem]:
    """Yield the problems of a cache as they are found, and none if all is well.

    quick: check sizes and structure only, and hash nothing. show: called with the number of videos, shows progress.
    workers: processes that check a large cache on this machine, at most; None stands for one for each CPU. Raises
    UserError if there is no cache, or a job is writing into it; damage of any kind is yielded as a problem.
    """
    if not storage.fetch(storage.layout.settings).exists():
        raise no_cache(storage)
    with without_writers(storage):
        settings = yield from check_settings(storage)
        if settings is None:
            return
        yield from guarded(storage.layout.flow.name, check_flow, storage, settings)
        yield from check_shards(storage, settings, quick, show, workers)


def check_shards(
    storage: CacheStorage,
    settings: Settings,
    quick: bool = False,
    show: ShowProgress = no_progress,
    workers: int | None = None,
) -> Iterator[Problem]:
    """Yield the problems of everything but cache.json and the flow; the parameters are those of `verify_cache`."""
    index = yield from check_index(storage, settings)
    if index is None:
        return
    shards, variants, listed = settings.shards(), traced_variants(storage), IndexRows.of(index)
    if isinstance(storage, LocalStorage):
        yield from guarded("latents.zarr/zarr.json", check_root, storage.layout)
        yield from check_foreign(storage, len(shards), variants)
    for variant in variants:
        where = f"motion/{variant.name}/variant.json"
        yield from guarded(where, check_variant_settings, storage, variant)
    checks = [
        ShardCheck(storage.layout, settings, shard, listed.part(rows), quick) for shard, rows in enumerate(shards)
    ]
    remote = RemoteShards(storage, variants) if isinstance(storage, RemoteStorage) else None
    checked = map(remote.check, checks) if remote else over_shards(partial(check_shard, variants), checks, workers)
    unrendered: Counter[Variant] = Counter()
    with show(settings.rows) as advance:
        for shard, (rows, found) in enumerate(zip(shards, checked, strict=True)):
            yield from found.problems
            unrendered.update(found.unrendered)
            advance(len(rows), found.frames, f"shard {shard:05d}")
    if remote is not None:
        yield from remote.foreign()
    for variant, count in unrendered.items():
        what = f"{count} of {len(shards)} shards are not rendered; run `{how_to_render(storage, variant)}`"
        yield Problem(f"motion/{variant.name}", what, unfinished=True)

"""Verify a whole cache for `s2vc-prep verify`: check every invariant of its format against the stored files."""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.lock import without_writers
from s2vc.pipeline.cache.receipts import traced_variants
from s2vc.pipeline.cache.remote import RemoteLayout
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.render_command import how_to_render
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.verify.check_corrections import check_variant_settings
from s2vc.pipeline.verify.check_index import check_index
from s2vc.pipeline.verify.check_latents import check_root
from s2vc.pipeline.verify.check_remote import RemoteShards
from s2vc.pipeline.verify.check_settings import check_flow, check_settings
from s2vc.pipeline.verify.check_shard import ShardCheck
from s2vc.pipeline.verify.foreign import check_foreign
from s2vc.pipeline.verify.problem import Problem, guarded

__all__ = ["Problem", "check_shards", "verify_cache"]


def verify_cache(layout: Layout, quick: bool = False, show: ShowProgress = no_progress) -> Iterator[Problem]:
    """Yield the problems of a cache as they are found, and none if all is well.

    quick: check sizes and structure only, and hash nothing. show: called with the number of shards, shows progress.
    Raises UserError if there is no cache, or a job is writing into it; damage of any kind is yielded as a problem.
    """
    if not layout.settings.exists():
        raise UserError(f"there is no cache at {layout} (no cache.json)")
    with without_writers(layout):
        settings = yield from check_settings(layout)
        if settings is None:
            return
        yield from guarded(layout.flow.name, check_flow, layout, settings)
        yield from check_shards(layout, settings, quick, show)


def check_shards(
    layout: Layout,
    settings: Settings,
    quick: bool = False,
    show: ShowProgress = no_progress,
) -> Iterator[Problem]:
    """Yield the problems of everything but cache.json and the flow; the parameters are those of `verify_cache`."""
    index = yield from check_index(layout, settings)
    if index is None:
        return
    shards, variants = settings.shards(), traced_variants(layout)
    remote = RemoteShards(layout, settings, index, variants, quick) if isinstance(layout, RemoteLayout) else None
    if remote is None:
        yield from guarded("latents.zarr/zarr.json", check_root, layout)
        yield from check_foreign(layout, len(shards), variants)
    for variant in variants:
        where = f"motion/{variant.name}/variant.json"
        yield from guarded(where, check_variant_settings, layout, variant)
    unrendered: Counter[Variant] = Counter()
    with show(len(shards)) as advance:
        for shard, rows in enumerate(shards):
            on_disk = ShardCheck(layout, settings, index, shard, rows, quick)
            with remote.brought(shard, rows) if remote else nullcontext(on_disk) as check:
                yield from check.run(variants)
            unrendered.update(check.unrendered)
            advance(1, check.frames)
    if remote is not None:
        yield from remote.foreign()
    for variant, count in unrendered.items():
        what = f"{count} of {len(shards)} shards are not rendered; run `{how_to_render(layout, variant)}`"
        yield Problem(f"motion/{variant.name}", what, unfinished=True)

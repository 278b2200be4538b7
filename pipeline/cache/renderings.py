"""These functions find the renderings of a cache, and remove those that its latents no longer give."""

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.layout import motion_stage
from s2vc.pipeline.cache.receipts import Receipt, is_done
from s2vc.pipeline.variants import Variant, variants_named


def traced_variants(storage: CacheStorage) -> list[Variant]:
    """Return the variants whose folder or receipts are there, in the order of their names."""
    return variants_named(sorted({*storage.names("motion"), *storage.names("receipts/motion")}))


def remove_stale_renderings(storage: CacheStorage, shard: int, encoded: Receipt) -> None:
    """Remove the renderings of a shard that were not made from the latents of the receipt `encoded`."""
    layout = storage.layout
    for variant in variants_named(storage.variant_names()):
        stage = motion_stage(variant)
        receipt = storage.fetch_receipt(stage, shard)
        if receipt is not None and is_done(layout, stage, shard, encoded) is None:
            storage.remove(layout.receipt(stage, shard))
            storage.remove(layout.root / receipt.prefix / layout.key(layout.motion(variant, shard)))

"""These functions find the renderings of a cache, and remove those that its latents no longer give."""

import numpy as np

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.layout import motion_stage
from s2vc.pipeline.cache.receipts import Receipt, is_done
from s2vc.pipeline.storage.hdf5 import read_part
from s2vc.pipeline.variants import Variant, variants_named


def traced_variants(storage: CacheStorage) -> list[Variant]:
    """Return the variants whose folder or receipts are there, in the order of their names."""
    return variants_named(sorted({*storage.names("motion"), *storage.names("receipts/motion")}))


def kept_share(storage: CacheStorage, variant: Variant, at_most: int | None = None) -> float | None:
    """Return the share of the latents that a rendered variant keeps, 0 to 1, a mean over windows; None without any.

    at_most: so many shards are read, evenly spaced; None reads all of them. Raises UserError where one of them cannot
    be read.
    """
    shards = sorted(storage.finished(motion_stage(variant)))
    parts = []
    for shard in shards[:: max(1, -(-len(shards) // (at_most or len(shards) or 1)))]:
        said = f"what {variant.name} keeps of shard {shard}"
        with damage_as_user_error(said, storage), storage.open_motion(variant, shard) as file:
            parts.append(read_part(file, "kept"))
    return float(np.concatenate(parts).mean()) if sum(map(len, parts)) else None


def remove_stale_renderings(storage: CacheStorage, shard: int, encoded: Receipt) -> None:
    """Remove the renderings of a shard that were not made from the latents of the receipt `encoded`."""
    layout = storage.layout
    for variant in variants_named(storage.variant_names()):
        stage = motion_stage(variant)
        receipt = storage.fetch_receipt(stage, shard)
        if receipt is not None and is_done(layout, stage, shard, encoded) is None:
            storage.remove(layout.receipt(stage, shard))
            storage.remove(layout.root / receipt.prefix / layout.key(layout.motion(variant, shard)))

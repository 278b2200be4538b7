"""These functions find the renderings of a cache, and remove what was made from frames or latents that are replaced."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.layout import ENCODE, motion_stage
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
    for rendered, path in _renderings_of(storage, shard):
        if is_done(storage.layout, rendered.stage, shard, encoded) is None:
            _remove_made(storage, rendered, path)


def remove_stale_latents(storage: CacheStorage, shard: int, ingested: Receipt) -> None:
    """Remove the latents of a shard, and its renderings, that were not made from the frames of the receipt `ingested`.

    This is for before that receipt is there: videos may begin elsewhere in the new frames, so that what is left of the
    old ones would be read as if it were another video's.
    """
    encoded = storage.fetch_receipt(ENCODE, shard)
    if is_done(storage.layout, ENCODE, shard, ingested):
        return
    for rendered, path in _renderings_of(storage, shard):
        # Where the latents' receipt is lost, renderings of the same source files are the same again.
        if encoded is not None or rendered.videos != ingested.videos:
            _remove_made(storage, rendered, path)
    if encoded is not None:
        _remove_made(storage, encoded, storage.layout.latents(shard))


def _renderings_of(storage: CacheStorage, shard: int) -> Iterator[tuple[Receipt, Path]]:
    """Yield the receipt and the file of each rendering of a shard."""
    for variant in variants_named(storage.variant_names()):
        receipt = storage.fetch_receipt(motion_stage(variant), shard)
        if receipt is not None:
            yield receipt, storage.layout.motion(variant, shard)


def _remove_made(storage: CacheStorage, receipt: Receipt, path: Path) -> None:
    """Remove the receipt of a shard, and then the file or folder that its stage has made."""
    storage.remove(storage.layout.receipt(receipt.stage, receipt.shard))
    storage.remove(storage.layout.root / receipt.prefix / storage.layout.key(path))

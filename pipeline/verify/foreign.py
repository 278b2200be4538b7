"""Find the files in a cache that no receipt and no layout accounts for."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout
from s2vc.pipeline.cache.links import links_out_of
from s2vc.pipeline.storage.files import half_written
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.verify.problem import Problem

_NUMBER = re.compile(r"[0-9]{5,9}")


def check_foreign(storage: LocalStorage, shards: int, variants: Collection[Variant]) -> Iterable[Problem]:
    """Yield a problem for each link that leads out of the cache, for each file or folder in the cache's folders that is
    not part of it, and for each file that a stopped job left half written.

    shards: how many shards the cache has. variants: those that have a folder or receipts.
    """
    for path in links_out_of(storage.layout.root):
        yield Problem(storage.layout.key(path), "is a link that leads out of the cache")
    for folder, belongs in _belongs(shards, {v.name for v in variants}).items():
        for name in storage.names(folder):
            if not belongs(name):
                yield foreign(f"{folder}/{name}" if folder else name)


def _belongs(shards: int, variants: set[str]) -> dict[str, Callable[[str], bool]]:
    """Return, for each folder of a cache, a function that says whether a name in it belongs to the cache.

    variants: the names of the variants.
    """

    def shard_file(name: str) -> bool:
        return _is_shard(name, ".h5", shards)

    def receipt(name: str) -> bool:
        return _is_shard(name, ".json", shards)

    belongs: dict[str, Callable[[str], bool]] = {
        "": lambda name: half_written(name) is None,  # users may keep files of their own in the cache's top folder
        "frames": shard_file,
        "small": shard_file,
        "latents.zarr": lambda name: name == "zarr.json" or _is_shard(name, "", shards),
        "motion": variants.__contains__,
        "receipts": {INGEST, ENCODE, "motion"}.__contains__,
        f"receipts/{INGEST}": receipt,
        f"receipts/{ENCODE}": receipt,
        "receipts/motion": variants.__contains__,
    }
    for variant in sorted(variants):
        belongs[f"motion/{variant}"] = lambda name: name == "variant.json" or shard_file(name)
        belongs[f"receipts/motion/{variant}"] = receipt
    return belongs


def _is_shard(name: str, ending: str, shards: int) -> bool:
    """Return whether a name is that of one of the shards: its number in five digits or more, and the ending."""
    number = name.removesuffix(ending)
    return bool(_NUMBER.fullmatch(number)) and int(number) < shards and name == f"{int(number):05d}{ending}"


def check_group(layout: Layout, group: Path, expected: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each file in a shard's Zarr group that is not in `expected`, paths relative to the group."""
    for folder, _, names in os.walk(group):
        for name in sorted(names):
            path = Path(folder, name)
            if path.relative_to(group).as_posix() not in expected:
                yield foreign(layout.key(path))


def foreign(name: str) -> Problem:
    """Return the problem to report for a file of this name, which is not part of the cache."""
    if any(map(half_written, name.split("/"))):
        what = "was left half written by a job that was stopped; run that command again, which removes it"
        return Problem(name, what, unfinished=True)
    return Problem(name, "is not part of the cache: no receipt accounts for it")

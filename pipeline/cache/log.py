"""log.txt has a line for everything that a person should know of how a cache was made and that no reader needs."""

from collections.abc import Sequence

from s2vc.pipeline.cache.cache_storage import CacheStorage


def record(storage: CacheStorage, lines: Sequence[str]) -> None:
    """Add lines at the end of the log."""
    if lines:
        with storage.fetch(storage.layout.log).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        storage.publish(storage.layout.log)

"""A cache is opened by its folder, or by a URL and a local folder for copies of its shards."""

import os
from pathlib import Path

from s2vc.pipeline.cache.cache_storage import CacheStorage, LocalStorage
from s2vc.pipeline.storage.byte_sizes import LOCAL_CACHE_SIZE, bytes_of
from s2vc.pipeline.storage.object_store import is_url


def open_storage(
    location: str | Path | CacheStorage, local_cache: str | Path = "", local_cache_size: str = ""
) -> CacheStorage:
    """Return the storage of a cache at a path or a URL.

    local_cache, local_cache_size: for a URL, the folder for copies and the bytes that they may take ("50GB"). Raises
    UserError for a URL that cannot be used, and for a text that is no size.
    """
    if isinstance(location, CacheStorage):
        return location
    if not is_url(location):
        return LocalStorage(Path(location))
    # It takes HDF5, which the commands on a folder need not wait for.
    from s2vc.pipeline.cache.remote_storage import RemoteStorage

    local = (Path(local_cache).expanduser() if local_cache else default_local_cache()).absolute()
    return RemoteStorage(str(location), local, bytes_of(local_cache_size or LOCAL_CACHE_SIZE))


def default_local_cache() -> Path:
    """Return the folder s2vc in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s2vc"

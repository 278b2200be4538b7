"""A cache is opened by its folder, or by a URL and a local folder for copies of its shards."""

import os
import re
from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage, LocalStorage
from s2vc.pipeline.cache.remote_storage import RemoteStorage
from s2vc.pipeline.storage.object_store import is_url

LOCAL_CACHE_SIZE = "50GB"

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


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
    local = (Path(local_cache).expanduser() if local_cache else default_local_cache()).absolute()
    return RemoteStorage(str(location), local, bytes_of(local_cache_size or LOCAL_CACHE_SIZE))


def default_local_cache() -> Path:
    """Return the folder s2vc in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s2vc"


def bytes_of(text: str) -> int:
    """Return the bytes of a size as people write it: 50GB, 1.5 TB, 800MiB, 4096. Raises UserError for other text."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    if match is None:
        raise UserError(f"{text!r} is no size; write 50GB, or 800MB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])

"""How damaged data of a cache is reported, by everything that reads a cache."""

from collections.abc import Iterator
from contextlib import contextmanager

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.storage.failures import STORAGE_FAILS

UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError)
"""The readers of damaged and malicious files raise these errors."""


@contextmanager
def damage_as_user_error(what: str, storage: CacheStorage) -> Iterator[None]:
    """Raise UserError, with the command that checks the cache, where the block finds that its data is damaged. Errors
    of failing storage pass: they are no damage.

    what: names what is read, as the beginning of the sentence, such as "a stored clip of VIDEO".
    """
    try:
        yield
    except UserError:  # It says itself what is wrong: a store that does not answer is no damage.
        raise
    except UNREADABLE as error:
        if getattr(error, "errno", None) in STORAGE_FAILS:
            raise
        raise UserError(f"{what} cannot be read ({error}): run `s2vc-prep verify {storage}`") from error

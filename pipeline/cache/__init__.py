"""A cache on disk has a layout, settings, receipts and an index; `Cache` reads it."""

from typing import TYPE_CHECKING

from s2vc.pipeline.lazy_names import lazy_names

if TYPE_CHECKING:
    from s2vc.pipeline.cache.reader import Cache

__getattr__ = lazy_names(__name__, {"reader": ["Cache"]})

__all__ = ["Cache"]

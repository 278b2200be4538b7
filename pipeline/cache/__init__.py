"""A cache on disk has a layout, settings, receipts and an index; `Cache` reads it."""

from s2vc.pipeline.cache.reader import Cache

__all__ = ["Cache"]

"""A cache on disk: its layout, settings, receipts and index, and `Cache`, which reads it."""

from s2vc.pipeline.cache.reader import Cache

__all__ = ["Cache"]

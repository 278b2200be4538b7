"""A cache on disk: its layout, settings, receipts and index, and `Cache`, which reads it."""

from pipeline.cache.reader import Cache

__all__ = ["Cache"]

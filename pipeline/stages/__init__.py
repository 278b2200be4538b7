"""The stages, one shard each: ingest (ffmpeg to stored frames), encode (the flow), render (suppression)."""

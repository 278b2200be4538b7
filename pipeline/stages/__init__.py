"""Each stage works on one shard: ingest (ffmpeg to stored frames), encode (the flow), render (suppression)."""

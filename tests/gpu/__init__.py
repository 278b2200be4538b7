"""What has to be asked of a GPU: is everything right there, and how fast is it? `tests/gpu/run` asks all of it."""

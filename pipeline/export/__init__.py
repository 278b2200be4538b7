"""Stand-alone clips of a cache for other programs."""

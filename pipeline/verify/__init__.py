"""Check every invariant of a cache's format against the files that are stored."""

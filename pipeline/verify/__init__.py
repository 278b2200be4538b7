"""Every invariant of a cache's format, checked against what is on the disk."""

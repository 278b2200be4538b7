"""Write clips of a cache as files for other programs."""

"""Shards on Ray: the scheduler, what nodes must have, and training in several processes."""

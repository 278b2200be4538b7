"""This package runs shards on Ray: the scheduler, checks of the nodes, and training in several processes."""

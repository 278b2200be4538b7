"""Analyses of caches and checkpoints that are no downstream task: figures of the paper and its supplement."""

"""Downstream tasks and analyses of the paper."""

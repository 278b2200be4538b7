"""Recipes of `s2vc-sweep --recipe`: the paper's tables, dataset by dataset, from the videos to the numbers."""

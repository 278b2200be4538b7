"""Flows fitted to other images, what they are like, and how they compare."""

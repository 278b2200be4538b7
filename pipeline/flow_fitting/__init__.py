"""Fit flows to images, judge them, and compare them with each other."""

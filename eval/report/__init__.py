"""Runs, results and sweeps as one HTML page."""

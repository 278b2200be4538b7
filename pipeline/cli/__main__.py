"""`python -m pipeline.cli` is `s2vc-prep`."""

from pipeline.cli import main

main(prog_name="s2vc-prep")

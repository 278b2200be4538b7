"""`python -m training.cli` is `s2vc-train`."""

from training.cli import main

main(prog_name="s2vc-train")

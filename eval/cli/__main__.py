"""`python -m eval.cli` is `s2vc-eval`."""

from eval.cli import main

main(prog_name="s2vc-eval")

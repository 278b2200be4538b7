"""`python -m s2vc.eval.cli` is `s2vc-eval`."""

from s2vc.eval.cli import main

if __name__ == "__main__":
    main(prog_name="s2vc-eval")

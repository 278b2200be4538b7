"""`python -m s2vc.training.cli` is `s2vc-train`."""

from s2vc.training.cli import main

if __name__ == "__main__":
    main(prog_name="s2vc-train")

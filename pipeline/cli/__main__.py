"""`python -m pipeline.cli` is `s2vc-prep`."""

from pipeline.cli import main

if __name__ == "__main__":
    main(prog_name="s2vc-prep")

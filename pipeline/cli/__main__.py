"""`python -m s2vc.pipeline.cli` is `s2vc-prep`."""

from s2vc.pipeline.cli import main

if __name__ == "__main__":
    main(prog_name="s2vc-prep")

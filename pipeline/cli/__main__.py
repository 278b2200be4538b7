"""Run `s2vc-prep` as `python -m s2vc.pipeline.cli`."""

from s2vc.pipeline.cli import main

if __name__ == "__main__":
    main(prog_name="s2vc-prep")

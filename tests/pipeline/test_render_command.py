"""What a user is told to run does what it is said to do."""

import shlex
from pathlib import Path

import pytest

from s2vc.pipeline.cli.render import render_command
from s2vc.pipeline.console.variant_options import wanted_variants, window_rule
from s2vc.pipeline.render_command import how_to_render
from s2vc.pipeline.variants import Variant


@pytest.mark.parametrize(
    "name",
    [
        "alpha0.5-zero-video",
        "alpha0-zero-video",
        "alpha0.00001-reverse-clip32",
        "keep0.2-tfd-video",
        "keep0.25-zero-clip16-step2",
        "alpha0.5-zero-clip16-stride4",
        "alpha0.8-shuffle-clip-clip8-step3-stride5-draw2-seed7",
        "alpha1.5-noise-video-draw0",
        "keep1-random-video-draw1-seed11",
    ],
)
def test_the_render_command_renders_the_variant(name: str) -> None:
    program, command, *words = shlex.split(how_to_render(Path("a cache"), Variant.parse(name)))
    assert (program, command) == ("s2vc-prep", "render")
    call = render_command.make_context("render", words).params
    rule = window_rule(*(call[k] for k in ("scope", "clip_length", "frame_step", "window_stride")))
    wanted = wanted_variants(*(call[k] for k in ("alphas", "keeps", "strategies", "draws", "seed")), rule)
    assert call["cache"] == Path("a cache")
    assert name in [v.name for v in wanted]

"""Each command prints the one that comes next, and each of these does what it says."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from s2vc.eval.cli import main as evaluate
from s2vc.training.cli import main as train
from tests.support.clips import moving_square, write_clip


@pytest.mark.parametrize("scope", ["video", pytest.param("clip", marks=pytest.mark.slow)])
def test_the_commands_printed_as_next_lead_from_videos_to_retrieval(
    scope: str, cli: Callable[..., Result], tmp_path: Path
) -> None:
    for part in ("train", "test"):
        for number in range(8):
            frames = moving_square(10, seed=number)
            write_clip(tmp_path / "my videos" / part / "ab"[number % 2] / f"{number}.mp4", frames)

    def follow(done: Result, *more: object) -> Result:
        assert done.exit_code == 0, done.output
        program, *words = shlex.split(done.output.splitlines()[-1].removeprefix("Next: "))
        words = [str(tmp_path / "the cache") if word == "CACHE" else word for word in words]
        if program == "s2vc-prep":
            return cli(*words, *more)
        return CliRunner().invoke({"s2vc-train": train, "s2vc-eval": evaluate}[program], [*words, *map(str, more)])

    listed = cli("manifest", "folder", tmp_path / "my videos", "--out", tmp_path / "videos.csv")
    encoded = follow(listed, "--size", "32x32")
    window = ("--scope", "clip", "--clip-length", 4, "--frame-step", 2) if scope == "clip" else ()
    rendered = follow(encoded, *window)
    short = ("--epochs", 1, "--batch", 4, "--size", 32, *(() if window else ("--clip-length", 4)))
    split = ("--split", "split1") if window else ()
    trained = follow(rendered, *short, *split, "--out", tmp_path / "a run", "--loader-workers", 0)
    assert trained.output.splitlines()[-1].endswith(" --split split1") == bool(split)
    tested = follow(trained, "--out", tmp_path / "results")
    assert tested.exit_code == 0, tested.output
    assert "8 queries" in tested.output or "8 test videos" in tested.output, tested.output
    assert (
        "Next: " not in cli("encode", tmp_path / "videos.csv", "--out", tmp_path / "the cache").output.splitlines()[-1]
    )

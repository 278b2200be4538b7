"""What the tests of evaluation share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.support.clips import write_clip

Evaluate = Callable[..., Result]


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """Runs `s2vc-eval` in this process: evaluate("retrieval", CACHE, …) -> result with exit_code and output."""
    from s2vc.eval.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return run


@pytest.fixture(scope="session")
def labelled_cache(cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample set in small: two classes that differ by colour, three training and two test videos of each."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = ["video_id,label,class_name,split1"]
    rng = np.random.default_rng(0)
    for label, colour in enumerate(((220, 40, 40), (40, 40, 220))):
        for number in range(5):
            noise = rng.integers(-30, 30, (20, 64, 80, 3))
            frames = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            write_clip(folder / "videos" / f"{label}{number}.mp4", frames)
            rows.append(f"{label}{number}.mp4,{label},c{label},{'train' if number < 3 else 'test'}")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    arguments = ["encode", folder / "m.csv", "--root", folder / "videos", "--out", folder / "cache", "--size", "64x80"]
    made = cli(*arguments)
    assert made.exit_code == 0, made.output
    return folder / "cache"


@pytest.fixture(scope="session")
def two_label_cache(cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos whose `colour` (red, blue; empty in the last) is to be seen, and whose label is not.

    Splits: split_far and split_near, each with another half of the test videos.
    """
    folder = tmp_path_factory.mktemp("two-labels")
    rows = ["video_id,class_name,split_far,split_near,colour,frames"]
    rng = np.random.default_rng(0)
    for number in range(13):
        colour = ("red", "blue", "")[number % 4 // 2 if number < 12 else 2]
        frames = np.array({"red": (220, 40, 40)}.get(colour, (40, 40, 220))) + rng.integers(-30, 30, (20, 64, 80, 3))
        write_clip(folder / "videos" / f"{number:02d}.mp4", np.clip(frames, 0, 255).astype(np.uint8))
        far, near = ("train", "train") if number < 8 else (("test", ""), ("", "test"))[number % 2]
        rows.append(f"{number:02d}.mp4,{'some' if number % 3 else 'third'},{far},{near},{colour},many")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    arguments = ["encode", folder / "m.csv", "--root", folder / "videos", "--out", folder / "cache", "--size", "64x80"]
    made = cli(*arguments)
    assert made.exit_code == 0, made.output
    return folder / "cache"

"""What the tests of evaluation share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.clips import write_clip

Evaluate = Callable[..., Result]


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """Runs `s2vc-eval` in this process: evaluate("retrieval", CACHE, …) -> result with exit_code and output."""
    from eval.cli import main

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

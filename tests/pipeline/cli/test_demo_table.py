"""What `s2vc-prep demo` says of the contrast that is left."""

import io
from pathlib import Path

import pandas as pd
import pytest

from s2vc.pipeline.cli.demo import show_contrast
from s2vc.pipeline.console.terminal import PlainConsole
from s2vc.pipeline.demo import sample_files


@pytest.mark.parametrize(("mover", "explained"), [(1.012, True), (1.004, False), (0.82, False)])
def test_more_contrast_than_the_original_had_is_explained(
    mover: float, explained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = pd.DataFrame([("alpha0.1-zero-video", 0.5, 0.5, mover)], columns=["variant", "kept", "background", "mover"])
    monkeypatch.setattr(sample_files, "contrast_left", lambda cache, paths: left)
    console = PlainConsole(file=io.StringIO(), width=120)
    show_contrast(None, sample_files.DemoPaths(Path()), console)  # type: ignore[arg-type]
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("101%" in printed) == explained == ("over 100%: suppression changes latents of movers" in printed)

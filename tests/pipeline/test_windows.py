"""Windows cover a video by the rule."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2vc.pipeline.windows import WindowRule


def test_scope_video_is_one_window_of_all_frames() -> None:
    (window,) = WindowRule().windows(7)
    assert window.tolist() == list(range(7))


def test_no_frames_give_no_window() -> None:
    assert WindowRule().windows(0) == []
    assert WindowRule("clip", 16).windows(0) == []


def test_a_short_video_is_padded_on_the_left_by_its_first_frame() -> None:
    (window,) = WindowRule("clip", 16).windows(9)
    assert window.tolist() == [0] * 7 + list(range(9))


def test_windows_do_not_overlap_but_for_the_last_which_ends_with_the_video() -> None:
    windows = [w.tolist() for w in WindowRule("clip", 16).windows(40)]
    assert windows == [list(range(16)), list(range(16, 32)), list(range(24, 40))]


def test_frame_step_spreads_a_window() -> None:
    windows = [w.tolist() for w in WindowRule("clip", 3, frame_step=2).windows(12)]
    assert windows == [[0, 2, 4], [6, 8, 10], [7, 9, 11]]


@given(
    frames=st.integers(1, 300),
    length=st.integers(2, 33),
    step=st.integers(1, 4),
    stride=st.one_of(st.none(), st.integers(1, 40)),
)
def test_every_window_has_the_length_and_the_last_frame_is_covered(
    frames: int, length: int, step: int, stride: int | None
) -> None:
    windows = WindowRule("clip", length, step, stride).windows(frames)
    span = (length - 1) * step + 1
    for window in windows:
        assert len(window) == length
        assert window.min() >= 0
        assert window.max() < frames
    if frames >= span:
        assert all((np.diff(w) == step).all() for w in windows)
        assert windows[-1][-1] == frames - 1
        starts = [int(w[0]) for w in windows]
        gap = stride or length * step
        assert all(b - a == gap for a, b in pairwise(starts[:-1]))
    else:
        assert len(windows) == 1
        assert set(windows[0].tolist()) == {0, *range(0, frames, step)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "frame"},
        {"scope": "clip"},
        {"scope": "clip", "clip_length": 1},
        {"scope": "clip", "clip_length": 16, "frame_step": 0},
        {"scope": "clip", "clip_length": 16, "window_stride": 0},
        {"scope": "video", "clip_length": 16},
        {"scope": "video", "frame_step": 2},
    ],
)
def test_rules_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"scope|clip|step|stride"):
        WindowRule(**wrong)  # type: ignore[arg-type]

"""What a Cache says of its videos beyond their pixels."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import pytest

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.reader import stored_rate


@pytest.mark.parametrize(
    ("fps", "step", "expected"),
    [
        ("25", 1, Fraction(25)),
        ("30000/1001", 2, Fraction(15000, 1001)),
        ("", 1, Fraction(25)),
        ("", 5, Fraction(5)),
        ("0", 1, Fraction(25)),
        ("-3", 1, Fraction(25)),
        ("1/0", 1, Fraction(25)),
        ("fast", 1, Fraction(25)),
        ("90000", 1, Fraction(25)),
        ("1/300", 1, Fraction(1, 300)),
        ("1000", 4, Fraction(250)),
    ],
)
def test_the_rate_of_stored_frames(fps: str, step: int, expected: Fraction) -> None:
    assert stored_rate(fps, step) == expected


def test_frame_rate_is_that_of_the_source_over_the_frame_step(cache_path: Path) -> None:
    cache = Cache(cache_path)
    assert {cache.frame_rate(video_id) for video_id in ("slide/a.mp4", "orbit/a.mp4")} == {25}
    thinned = Cache(cache_path)
    thinned.settings = dataclasses.replace(thinned.settings, frame_step=5)
    assert thinned.frame_rate("slide/a.mp4") == 5


def test_a_video_is_found_in_its_shard(cache_path: Path) -> None:
    cache = Cache(cache_path)
    # Shards of four manifest rows: the missing video is one of them, though it has no frames.
    assert [cache.shard_and_row(v) for v in cache.index["video_id"]] == [(n // 4, n % 4) for n in range(6)]

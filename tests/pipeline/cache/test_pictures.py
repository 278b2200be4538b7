"""Pictures of a cache for notebooks: the right frames of the right video, as they are stored and as rendered."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.flow import load_flow

VIDEO = "slide/b c.mp4"


def test_a_video_is_shown_beside_its_variants(cache_path: Path) -> None:
    cache = Cache(cache_path)
    shown = cache.show(VIDEO, "alpha0.5-zero-video", frames=3)
    assert shown.numbers == [0, 10, 20], "evenly spaced over 21 frames"
    assert list(shown.rows) == ["original", "alpha0.5-zero-video"]
    assert np.array_equal(shown.rows["original"], cache.frames(VIDEO)[[0, 10, 20]])
    preserved = cache.motion_preserved(VIDEO, "alpha0.5-zero-video")[[0, 10, 20]]
    assert np.array_equal(shown.rows["alpha0.5-zero-video"], preserved)
    assert repr(shown) == f"ClipPicture({VIDEO!r}: frames 0, 10, 20 of original, alpha0.5-zero-video)"
    height, width = cache.settings.frame_size
    assert shown.pixels.shape == (2 * height + 4, 3 * width + 8, 3)
    assert np.array_equal(shown.pixels[height + 4 :, width + 4 : 2 * width + 4], preserved[1])


def test_windows_are_shown_by_their_own_frames(cache_path: Path) -> None:
    cache = Cache(cache_path)
    shown = cache.show(VIDEO, "alpha0.5-zero-clip16", frames=4)
    assert shown.numbers == [0, 5, 10, 15], "the first window"
    assert np.array_equal(
        shown.rows["alpha0.5-zero-clip16"], cache.motion_preserved(VIDEO, "alpha0.5-zero-clip16", 0)[[0, 5, 10, 15]]
    )
    every = cache.show(VIDEO, frames=2)
    assert len(every.rows) == 4 and every.numbers == [0, 15], "all that is rendered, in frames that all have"


def test_html_holds_a_picture_of_each_row(cache_path: Path, tmp_path: Path) -> None:
    shown = Cache(cache_path).show(VIDEO, "alpha0.5-zero-video", frames=2)
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', shown._repr_html_())
    height, width = shown.rows["original"].shape[1:3]
    for picture, row in zip(pictures, shown.rows.values(), strict=True):
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
        assert image.shape == (height, 2 * width + 4, 3)
        assert np.abs(image[:, :width].astype(float) - row[0]).mean() < 6, "but for compression"
    shown.save(tmp_path / "shown.jpg")
    assert Image.open(tmp_path / "shown.jpg").size == (2 * width + 4, 2 * height + 4)


def test_a_video_without_frames_is_refused(cache_path: Path) -> None:
    with pytest.raises(UserError, match="has no frames to show"):
        Cache(cache_path).show("orbit/missing.mp4")


def test_a_cache_tells_what_is_in_it(cache_path: Path) -> None:
    page = Cache(cache_path)._repr_html_()
    assert "<td>5 ok, 1 failed</td>" in page and "<td>104 of 72x98</td>" in page and "<td>split1</td>" in page
    assert "alpha0.5-zero-clip16, alpha0.5-zero-video, keep0.2-zero-clip16" in page


def test_a_flow_is_told_in_a_line() -> None:
    line = "Flow(hidden=32, width=64, blocks=4+6+6: 3,934,760 parameters, float32, cpu)"
    assert repr(load_flow("default")) == line

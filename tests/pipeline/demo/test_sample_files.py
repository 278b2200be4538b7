"""The demo: real MP4s, masks that fit them, and suppression that takes the background and leaves the mover."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from s2vc.manifests.table import read_manifest
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.demo.sample_files import DemoPaths, contrast_left, sample_size, write_sample
from s2vc.pipeline.stages.video import decode_video


@pytest.fixture(scope="module")
def demo(cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> DemoPaths:
    """A demo folder with one video of each class, taken through all stages."""
    paths = DemoPaths(tmp_path_factory.mktemp("demo") / "demo")
    assert len(list(write_sample(paths, videos_per_class=1))) == sample_size(1)
    result = cli("demo", "--out", paths.root)
    assert result.exit_code == 0, result.output
    return paths


def test_the_full_set_is_at_least_24_videos_of_4_motions() -> None:
    assert sample_size() >= 24


def test_videos_play_and_masks_fit_them(demo: DemoPaths) -> None:
    for video_id in read_manifest(demo.manifest)["video_id"]:
        taken: list[np.ndarray] = []
        decoded = decode_video(demo.videos / video_id, 144, 192, taken.append)
        mask = np.load(demo.mask(video_id))["mask"]
        frames = np.concatenate(taken).astype(float)
        assert decoded.frames == 48
        assert mask.shape == frames.shape[:3]
        motion = np.abs(np.diff(frames, axis=0)).mean(axis=-1)
        moving = mask[1:] | mask[:-1]
        assert motion[moving].mean() > 5 * motion[~moving].mean()


def test_suppression_takes_the_background_and_leaves_the_mover(demo: DemoPaths) -> None:
    left = contrast_left(Cache(demo.cache), demo).set_index("variant")
    at_half = left.loc["alpha0.5-zero-video"]
    assert at_half["background"] < 0.5 < at_half["mover"]
    assert left["kept"].is_monotonic_decreasing


def test_the_preview_is_a_picture(demo: DemoPaths) -> None:
    with Image.open(demo.preview) as picture:
        assert min(picture.size) > 500


def test_run_again_it_only_looks(demo: DemoPaths, cli: Callable[..., Result]) -> None:
    result = cli("demo", "--out", demo.root)
    assert result.exit_code == 0
    assert "0 videos to do" in result.output
    assert "0 frames to render" in result.output


def test_a_demo_in_a_folder_of_something_else_touches_nothing(tmp_path: Path, cli: Callable[..., Result]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = cli("demo", "--out", tmp_path)
    assert result.exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]

"""Features: windows on every length, a video scores the mean of its windows, and what they depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eval.features import StoredWindows, View, central, extract, fingerprint, window_count
from pipeline.cache import Cache
from pipeline.progress import unseen


class Brightness(nn.Module):
    """A backbone whose features are the mean colour of a clip, and of its first frame."""

    feature_size = 6

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        whole, first = x.mean(dim=(2, 3, 4)), x[:, :, 0].mean(dim=(2, 3))
        return (self.scale * torch.cat([whole, first], dim=1))[..., None, None, None]


@pytest.mark.parametrize("view", [View(32, 16), View(32, 8, 3), View(32, 2), View(32, 5, 2)])
def test_windows_are_counted_as_the_rule_makes_them(view: View) -> None:
    for frames in range(201):
        windows = view.rule.windows(frames)
        assert window_count(view.rule, frames) == len(windows)
        if frames:
            assert windows[-1][-1] == frames - 1 or frames < (view.frames - 1) * view.frame_step + 1
            assert all(len(w) == view.frames for w in windows)


def test_a_video_scores_the_mean_of_its_windows(cache_path: Path, tmp_path: Path) -> None:
    cache, view = Cache(cache_path), View(32, 16)
    with unseen(0) as advance:
        features = extract(cache, Brightness(), view, tmp_path, torch.device("cpu"), 0, advance)
    row = cache.index["video_id"].tolist().index("slide/b c.mp4")  # 21 frames: windows at 0 and 5
    frames = cache.frames("slide/b c.mp4").astype(np.float64) / 255  # 72 x 98; the centre is 63 pixels wide
    normal = (frames - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    crop = normal[:, 4:67, 18:81]
    expected = [np.concatenate([crop[s : s + 16].mean(axis=(0, 1, 2)), crop[s].mean(axis=(0, 1))]) for s in (0, 5)]
    np.testing.assert_allclose(features.of(row), expected, atol=0.02)  # resizing keeps the mean, nearly
    np.testing.assert_allclose(features.means(np.array([row]))[0], np.mean(features.of(row), axis=0), atol=1e-6)
    missing = cache.index["video_id"].tolist().index("orbit/missing.mp4")
    assert len(features.of(missing)) == 0


def test_stored_windows_are_the_frames_of_the_cache(cache_path: Path) -> None:
    cache = Cache(cache_path)
    windows = StoredWindows(cache, View(32, 16))
    row = cache.index["video_id"].tolist().index("slide/b c.mp4")
    first = int(windows.offsets[row])
    np.testing.assert_array_equal(windows[first + 1], cache.frames("slide/b c.mp4", 5, 21))


def test_the_centre_is_cut_without_resizing_where_it_fits() -> None:
    video = torch.rand(2, 3, 4, 128, 171)
    assert torch.equal(central(video, 112), video[..., 8:120, 30:142])
    assert central(video, 56).shape == (2, 3, 4, 56, 56)


def test_features_are_told_apart_by_weights_and_view(cache_path: Path) -> None:
    cache, backbone = Cache(cache_path), Brightness()
    one = fingerprint(cache, backbone.state_dict(), View(32, 16))
    assert one == fingerprint(cache, Brightness().state_dict(), View(32, 16))
    assert one != fingerprint(cache, backbone.state_dict(), View(32, 8))
    with torch.no_grad():
        backbone.scale.add_(1e-6)
    assert one != fingerprint(cache, backbone.state_dict(), View(32, 16))

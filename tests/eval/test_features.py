"""Features: windows on every length, a video scores the mean of its windows, and what they depend on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s2vc.eval import features
from s2vc.eval.features import extract_features, features_hash
from s2vc.eval.view import StoredWindows, View, WindowCrops
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage.files import sha256
from s2vc.training import precision as training_precision
from s2vc.training.backbones import build_backbone
from s2vc.training.choices import NORMALISATIONS
from s2vc.training.fixed_crop import fixed_crop

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None, None]
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None, None]


class Brightness(nn.Module):
    """A backbone whose features are the mean colour of a clip, and of its first frame."""

    feature_size = 6

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        whole, first = x.mean(dim=(2, 3, 4)), x[:, :, 0].mean(dim=(2, 3))
        return (self.scale * torch.cat([whole, first], dim=1))[..., None, None, None]


@pytest.mark.parametrize("view", [View(32, 16), View(32, 8, 3), View(32, 2), View(32, 5, 2), View(32, 8, clips=10)])
def test_windows_are_counted_as_the_rule_makes_them(view: View) -> None:
    for frames in range(201):
        windows = view.rule.windows(frames)
        assert view.rule.count(frames) == len(windows)
        if frames:
            assert windows[-1][-1] == frames - 1 or frames < (view.frames - 1) * view.frame_step + 1
            assert all(len(w) == view.frames for w in windows)


def test_ten_clips_lie_where_xu_et_al_take_them() -> None:
    """Their middles are evenly spread from half a clip after the start to half a clip before the end."""
    for frames in (17, 26, 40, 101, 333):
        middles = np.linspace(8, frames - 8, 10)
        clips = View(112, 16, clips=10).rule.windows(frames)
        assert [len(clip) for clip in clips] == [16] * 10
        late = [middle - 8 - clip[0] for middle, clip in zip(middles, clips, strict=True)]
        assert min(late) > -1e-9 and max(late) < 1
        assert clips[0][0] == 0 and clips[-1][-1] == frames - 1
    assert [len(View(112, 16, clips=10).rule.windows(n)) for n in (0, 5, 16)] == [0, 1, 1]


def test_a_video_scores_the_mean_of_its_windows(cache_path: Path, tmp_path: Path) -> None:
    cache, view = Cache(cache_path), View(32, 16)
    rows = np.flatnonzero(cache.index["frames"] > 0)
    features = extract_features(cache, rows, Brightness(), view, tmp_path, torch.device("cpu"), 0)
    row = cache.index["video_id"].tolist().index("slide/b c.mp4")  # 21 frames: windows at 0 and 5
    frames = cache.frames("slide/b c.mp4").astype(np.float64) / 255  # 72 x 98; the centre is 63 pixels wide
    normal = (frames - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    centre = normal[:, 4:67, 18:81]
    expected = [np.concatenate([centre[s : s + 16].mean(axis=(0, 1, 2)), centre[s].mean(axis=(0, 1))]) for s in (0, 5)]
    assert features.windows_of(row).shape == (2, 1, 6)
    np.testing.assert_allclose(features.windows_of(row)[:, 0], expected, atol=0.02)  # resizing keeps the mean, nearly
    np.testing.assert_allclose(
        features.video_means(np.array([row]))[0], np.mean(features.windows_of(row), axis=(0, 1)), atol=1e-6
    )
    missing = cache.index["video_id"].tolist().index("orbit/missing.mp4")
    assert len(features.windows_of(missing)) == 0


def test_stored_windows_are_the_frames_of_the_cache(cache_path: Path) -> None:
    cache = Cache(cache_path)
    row = cache.index["video_id"].tolist().index("slide/b c.mp4")
    windows = StoredWindows(cache, np.array([row, 0]), View(32, 16))
    assert len(windows) == 2 + 4  # of 21 and of 40 frames
    first = int(windows.offsets[row])
    np.testing.assert_array_equal(windows[first + 1], cache.frames("slide/b c.mp4", 5, 21))


def test_the_centre_is_cut_without_resizing_where_it_fits() -> None:
    video = torch.rand(2, 3, 4, 128, 171)
    assert torch.equal(fixed_crop(video, 112, 4), video[..., 8:120, 30:142])
    assert fixed_crop(video, 56, 4).shape == (2, 3, 4, 56, 56)


def test_ten_crops_are_the_corners_and_the_centre_and_each_flipped() -> None:
    stored = torch.randint(0, 256, (2, 3, 128, 171, 3), dtype=torch.uint8)
    crops = WindowCrops(View(112, 3, crops="ten"))
    shown = [crops(stored, 0, number) for number in range(10)]
    video = (stored.double().permute(0, 4, 1, 2, 3) / 255 - MEAN) / STD
    for number, (top, left) in enumerate([(0, 0), (0, 59), (16, 0), (16, 59), (8, 30)]):
        expected = video[..., top : top + 112, left : left + 112]
        torch.testing.assert_close(shown[number].double(), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(shown[number + 5].double(), expected.flip(-1), atol=1e-5, rtol=0)


def test_clips_are_normalised_as_the_checkpoint_was_trained() -> None:
    stored = torch.full((1, 2, 40, 50, 3), 102, dtype=torch.uint8)  # 0.4 of the range
    for name, expected in (("half", -0.2), ("none", 0.4), ("hara2018", 102 - 114.7748)):
        mean, std = NORMALISATIONS[name]
        shown = WindowCrops(View(32, 2, mean=mean, std=std))(stored, 0, 0)
        torch.testing.assert_close(shown[:, 0], torch.full((1, 2, 32, 32), expected), atol=1e-4, rtol=0)


def test_augmented_crops_are_drawn_by_seed_and_leave_the_global_draws_alone() -> None:
    stored = torch.randint(0, 256, (2, 3, 40, 50, 3), dtype=torch.uint8)
    one, other = (WindowCrops(View(32, 3, crops="augmented", draws=2, seed=s)) for s in (0, 1))
    before = torch.get_rng_state()
    shown = one(stored, 4, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(stored, 4, 1), shown) and shown.shape == (2, 3, 3, 32, 32)
    for different in (one(stored, 4, 0), one(stored, 5, 1), other(stored, 4, 1)):
        assert not torch.equal(different, shown)


def test_shuffled_and_still_windows_hold_the_same_frames_in_another_order(cache_path: Path) -> None:
    cache = Cache(cache_path)
    row = cache.index["video_id"].tolist().index("slide/a.mp4")
    natural, shuffled, again, still = (
        StoredWindows(cache, np.array([row]), View(32, 8, order=order, seed=3))[2].numpy()
        for order in ("natural", "shuffled", "shuffled", "still")
    )
    np.testing.assert_array_equal(shuffled, again)
    assert not np.array_equal(natural, shuffled)
    assert sorted(f.tobytes() for f in natural) == sorted(f.tobytes() for f in shuffled)
    assert all(np.array_equal(frame, natural[4]) for frame in still)


def test_two_frames_are_shuffled_into_the_other_order() -> None:
    from s2vc.eval.view import frame_order

    assert all(frame_order(View(32, 2, order="shuffled"), row, 0).tolist() == [1, 0] for row in range(20))


def test_features_are_distinguished_by_weights_view_and_device(cache_path: Path) -> None:
    cache, backbone = Cache(cache_path), Brightness()
    rows = np.array([0, 1])
    here = torch.device("cpu")
    one = features_hash(cache, rows, backbone, View(32, 16), here)
    assert one == features_hash(cache, rows[::-1], Brightness(), View(32, 16), here)
    assert one != features_hash(cache, rows, backbone, View(32, 8), here)
    assert one != features_hash(cache, rows, backbone, View(32, 16, crops="ten"), here)
    assert one != features_hash(cache, rows[:1], backbone, View(32, 16), here)
    # A GPU computes in bfloat16 or float16, and its features are not a CPU's.
    assert one != features_hash(cache, rows, backbone, View(32, 16), torch.device("cuda"))
    with torch.no_grad():
        backbone.scale.add_(1e-6)
    assert one != features_hash(cache, rows, backbone, View(32, 16), here)
    torch.manual_seed(0)
    blocks = [build_backbone("r2d3d18", length) for length in (5, 10)]
    blocks[1].load_state_dict(blocks[0].state_dict())
    assert len({features_hash(cache, rows, one, View(32, 20), here) for one in blocks}) == 2


@pytest.mark.parametrize(("hardware", "precision"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_computes_in_what_its_hardware_multiplies(
    monkeypatch: pytest.MonkeyPatch, hardware: bool, precision: str
) -> None:
    monkeypatch.setattr(training_precision, "trains_in_bfloat16", lambda device: hardware)
    assert features.precision_of(torch.device("cuda")) == precision
    assert features.precision_of(torch.device("cpu")) == "float32"


@pytest.mark.parametrize("readers", [1, 2])
def test_whoever_reads_the_features_are_the_same(
    cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    """One reader is a thread, two are processes."""
    monkeypatch.setattr(features, "BATCH", 4)
    cache, view, cpu = Cache(cache_path), View(32, 8), torch.device("cpu")
    rows = np.flatnonzero(cache.index["frames"] > 0)
    alone = extract_features(cache, rows, Brightness(), view, tmp_path / "alone", cpu, 0)
    beside = extract_features(cache, rows, Brightness(), view, tmp_path / "beside", cpu, readers)
    assert sha256(beside.path) == sha256(alone.path)


@pytest.mark.parametrize("readers", [0, 1])
def test_lost_frames_are_one_line(cache_path: Path, tmp_path: Path, readers: int) -> None:
    copy = Path(shutil.copytree(cache_path, tmp_path / "cache"))
    (copy / "frames/00001.h5").unlink()
    cache = Cache(copy)
    rows = np.flatnonzero(cache.index["frames"] > 0)
    with pytest.raises(UserError, match="verify"):
        extract_features(cache, rows, Brightness(), View(32, 16), tmp_path / "out", torch.device("cpu"), readers)


@pytest.mark.parametrize("crops", ["centre", "augmented"])
def test_features_that_were_interrupted_are_gone_on_with(
    cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: str
) -> None:
    """What is computed after a stop is what one go gives, byte by byte, and nothing is computed twice."""
    monkeypatch.setattr(features, "BATCH", 2)
    monkeypatch.setattr(features, "PART_BATCHES", 2)
    cache, view = Cache(cache_path), View(32, 4, crops=crops, draws=2)
    rows = np.flatnonzero(cache.index["frames"] > 0)
    whole = extract_features(cache, rows, Brightness(), view, tmp_path / "whole", torch.device("cpu"), 0)

    class Stopping(Brightness):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 5 * view.crop_count:
                raise KeyboardInterrupt
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        extract_features(cache, rows, Stopping(), view, tmp_path / "parts", torch.device("cpu"), 0)
    counted = Stopping()
    counted.calls = -1000
    resumed = extract_features(cache, rows, counted, view, tmp_path / "parts", torch.device("cpu"), 0)
    batches = -(-int(whole.offsets[-1]) // 2)
    assert counted.calls == -1000 + (batches - 4) * view.crop_count, "four batches were kept"
    assert sha256(resumed.path) == sha256(whole.path)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [resumed.path.name]

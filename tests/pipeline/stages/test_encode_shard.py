"""What encode caches equals a direct computation, and the Cache reads it as the format says."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.stages.encode_shard import ClipHistogram, _Statistics, as_images
from s2vc.pipeline.windows import WindowRule
from tests.conftest import CLIPS, EACH, FRAME_SIZE, MISSING
from tests.support.peak_memory import peak_tensor_bytes
from tests.support.rounding import MARGIN, perturbed


@pytest.fixture(scope="module")
def cache(cache_path: Path) -> Cache:
    return Cache(cache_path)


def direct_z(cache: Cache, video_id: str, flow: Flow | None = None) -> np.ndarray:
    """z of a video, computed here in float32 from its small frames, one by one."""
    flow = flow or load_flow(cache.layout.flow)
    x = torch.from_numpy(cache.small(video_id)).permute(0, 3, 1, 2).float() / 255
    return torch.cat([flow.encode(frame[None])[0] for frame in x]).numpy()


def off_by_rounding(cache: Cache, video_id: str) -> np.ndarray:
    """z of a video as a processor that multiplies bfloat16 might have it."""
    return direct_z(cache, video_id, perturbed(load_flow(cache.layout.flow)))


def std_over_time(z: np.ndarray) -> np.ndarray:
    return z.astype(np.float64).std(axis=0, ddof=1) if len(z) > 1 else np.zeros(z.shape[1])


def clip_stds(z: np.ndarray) -> list[np.ndarray]:
    """float64 STDs of z over windows of 16, the last aligned with the end, short videos padded on the left."""
    n = len(z)
    if n < 16:
        z = np.concatenate([np.repeat(z[:1], 16 - n, 0), z])
        n = 16
    starts = list(range(0, n - 15, 16))
    if starts[-1] + 16 < n:
        starts.append(n - 16)
    return [z[s : s + 16].astype(np.float64).std(axis=0, ddof=1) for s in starts]


@pytest.mark.parametrize(("precision", "video_id"), EACH)
def test_z_and_std_equal_a_direct_computation(caches: dict[str, Path], precision: str, video_id: str) -> None:
    cache = Cache(caches[precision])
    z, stored, std = direct_z(cache, video_id), cache.latents(video_id), cache.std(video_id)
    assert (cache.settings.precision, stored.dtype) == (precision, np.float16)
    if precision == "float32":
        np.testing.assert_allclose(stored, z, rtol=2**-10, atol=5e-4)
        np.testing.assert_allclose(std, std_over_time(z), atol=1e-4)
        return
    drawn = off_by_rounding(cache, video_id)
    for frame, exact, other in zip(stored.astype(np.float32), z, drawn, strict=True):
        assert 0 < np.std(frame - exact) <= MARGIN * np.std(other - exact)
    off, allowed = std - std_over_time(z), std_over_time(drawn) - std_over_time(z)
    assert np.sqrt(np.square(off).mean()) <= MARGIN * np.sqrt(np.square(allowed).mean())


@pytest.mark.parametrize(("precision", "video_id"), EACH)
def test_histogram_counts_the_stds_of_windows_of_16(caches: dict[str, Path], precision: str, video_id: str) -> None:
    cache = Cache(caches[precision])
    stds = clip_stds(direct_z(cache, video_id))
    histogram, expected = cache.std_clip_histogram(video_id), counted(stds)
    assert histogram.sum() == expected.sum() == len(stds) * 12288
    # A value at the edge of a bin may fall to either side by rounding; shares must agree to a hundredth of a per cent.
    limit = 2e-4 * expected.sum()
    if precision != "float32":
        drawn = counted(clip_stds(off_by_rounding(cache, video_id)))
        limit += MARGIN * np.abs(np.cumsum(drawn) - np.cumsum(expected)).max()
    assert np.abs(np.cumsum(histogram) - np.cumsum(expected)).max() <= limit


def counted(stds: list[np.ndarray]) -> np.ndarray:
    return np.sum([np.histogram(s, 512, (0, 4))[0] for s in stds], axis=0)


def test_histogram_in_pieces_is_the_histogram_of_the_whole() -> None:
    z = torch.randn(53, 200, generator=torch.Generator().manual_seed(0))
    whole, pieces = ClipHistogram(53), ClipHistogram(53)
    whole.update(z)
    for piece in z.split(7):
        pieces.update(piece)
    np.testing.assert_array_equal(whole.counts, pieces.counts)
    np.testing.assert_array_equal(whole.counts, counted(clip_stds(z.numpy())))


def test_counting_waits_for_no_gpu() -> None:
    """Tensors without values stand for those of a GPU: whatever asks for a value of theirs, raises an error."""
    with torch.device("meta"):
        z = torch.empty(64, 200)
    histogram = ClipHistogram(64)
    for piece in z.split(24):
        histogram.update(piece)
    assert not histogram._windows


def test_images_are_divided_as_numpy_divides() -> None:
    levels = torch.arange(256, dtype=torch.uint8).expand(64, 64, 3, 256).permute(3, 0, 1, 2)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    assert np.array_equal(as_images(levels)[:, 0, 5, 7].numpy(), expected)


def test_statistics_of_a_gpus_batch_take_the_memory_of_a_few_frames() -> None:
    """In float64 a batch of 512 frames has 50 MB, and its deviations as much again."""
    z = torch.randn(512, 12288, generator=torch.Generator().manual_seed(0))
    std, histogram = np.zeros((1, 12288), np.float32), np.zeros((1, 512), np.int64)

    def statistics() -> None:
        _Statistics(np.array([0, 512]), std, histogram).update(0, z)

    assert peak_tensor_bytes(statistics) < z.numel() * 8 / 2
    np.testing.assert_allclose(std[0], z.double().std(dim=0).numpy(), atol=1e-6)
    np.testing.assert_allclose(np.cumsum(histogram[0]), np.cumsum(counted(clip_stds(z.numpy()))), atol=50)


def test_stds_of_four_and_more_are_not_counted() -> None:
    z = torch.zeros(16, 3)
    z[::2, 0], z[::2, 1] = 100.0, 1.0
    histogram = ClipHistogram(16)
    histogram.update(z)
    assert histogram.counts.sum() == 2


def test_index_has_one_row_per_manifest_row_and_counts_add_up(cache: Cache) -> None:
    index = cache.index.set_index("video_id")
    assert len(index) == len(CLIPS) + 1
    for video_id, (frames, name) in CLIPS.items():
        row = index.loc[video_id]
        assert (row["status"], row["frames"], row["class_name"]) == ("ok", frames, name)
    assert (index.loc[MISSING, "status"], index.loc[MISSING, "frames"]) == ("failed", 0)
    assert index.loc[MISSING, "reason"] == "there is no such file"
    for _, shard in index.groupby("shard"):
        assert shard["first_frame"].tolist() == np.cumsum([0, *shard["frames"]])[:-1].tolist()


def test_files_hold_what_the_format_names(cache: Cache) -> None:
    layout, (height, width) = cache.layout, FRAME_SIZE
    assert cache.settings.frame_size == (height, width)
    for shard, videos in ((0, 4), (1, 2)):
        rows = cache.index[cache.index["shard"] == shard]
        total = int(rows["frames"].sum())
        with (
            h5py.File(layout.frames(shard), locking=False) as frames,
            h5py.File(layout.small(shard), locking=False) as small,
        ):
            assert frames["jpeg"].dtype == np.uint8
            assert frames["jpeg_offsets"].shape == (total + 1,)
            assert frames["jpeg_offsets"][-1] == len(frames["jpeg"])
            assert np.diff(frames["video_offsets"][:]).tolist() == rows["frames"].tolist()
            assert frames["video_ids"].asstr()[:].tolist() == rows["video_id"].tolist()
            assert (small["small"].shape, small["small"].dtype) == ((total, 64, 64, 3), np.uint8)
        group = zarr.open_group(str(layout.latents(shard)), mode="r")
        assert (group["z"].shape, group["z"].dtype) == ((total, 12288), np.float16)
        assert (group["std_video"].shape, group["std_video"].dtype) == ((videos, 12288), np.float32)
        assert (group["std_clip_histogram"].shape, group["std_clip_histogram"].dtype) == ((videos, 512), np.int64)


def test_frames_come_back_by_slices(cache: Cache) -> None:
    whole = cache.frames("slide/a.mp4")
    assert whole.shape == (40, *FRAME_SIZE, 3)
    np.testing.assert_array_equal(cache.frames("slide/a.mp4", 7, 19), whole[7:19])
    np.testing.assert_array_equal(cache.latents("slide/a.mp4", 7, 19), cache.latents("slide/a.mp4")[7:19])
    assert cache.frames(MISSING).shape == (0, *FRAME_SIZE, 3)
    assert cache.latents(MISSING).shape == (0, 12288)


def test_a_cache_travels_to_other_processes(cache: Cache) -> None:
    cache.frames("slide/a.mp4")
    again: Cache = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(again.frames("orbit/a.mp4"), cache.frames("orbit/a.mp4"))


def test_wrong_questions_are_errors(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no video"):
        cache.frames("nothing.mp4")
    with pytest.raises(IndexError, match="40 frames"):
        cache.frames("slide/a.mp4", 30, 41)
    with pytest.raises(UserError, match="not rendered"):
        cache.motion_preserved("slide/a.mp4", "alpha0.7-zero-video")
    with pytest.raises(UserError, match="no cache"):
        Cache(tmp_path)


def test_a_lost_chunk_is_an_error_and_not_zeros(cache_path: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(cache_path, copy)
    (copy / "latents.zarr" / "00000" / "z" / "c" / "0" / "0").unlink()
    with pytest.raises(FileNotFoundError, match="verify"):
        Cache(copy).latents("slide/a.mp4")


def test_the_histogram_rule_is_the_default_window_rule() -> None:
    assert len(WindowRule("clip", 16).windows(40)) == len(clip_stds(np.zeros((40, 1))))

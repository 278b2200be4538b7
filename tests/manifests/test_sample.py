"""The built-in sample set: still natural backgrounds, one visible mover each, classes that differ by motion."""

from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from s2vc.manifests.sample import SAMPLE_CLASSES, SAMPLE_FPS, SampleVideo, draw_sample

Floats = NDArray[np.floating[Any]]
SMALL = (72, 96)


@pytest.fixture(scope="module")
def videos() -> list[SampleVideo]:
    """The first video of each class, as everybody gets it."""
    return list(draw_sample(videos_per_class=1))


@pytest.fixture(scope="module")
def small_videos() -> list[SampleVideo]:
    """One more of each class, small and with another seed."""
    return list(draw_sample(videos_per_class=1, size=SMALL, seed=7))


@pytest.fixture(scope="module")
def stills() -> list[SampleVideo]:
    """The first frame of the whole set, small."""
    return list(draw_sample(frames=1, size=SMALL))


def background_of(video: SampleVideo) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The video's median picture and where the object never was: uint8 (H, W, 3), bool (H, W)."""
    never = ~ndimage.binary_dilation(video.masks.any(axis=0), iterations=2)
    return np.median(video.frames, axis=0).astype(np.uint8), never


def centroids(video: SampleVideo) -> Floats:
    return np.array([[side.mean() for side in mask.nonzero()] for mask in video.masks])


def diameter(video: SampleVideo) -> float:
    """Of the disc with the object's area."""
    return float(np.sqrt(4 / np.pi * video.masks.sum(axis=(1, 2)).mean()))


def least_overlap(video: SampleVideo) -> float:
    """Least intersection over union of a frame's mask and the first one, moved to the same centroid."""
    path = centroids(video)
    first = video.masks[0].astype(float)
    moved = [ndimage.shift(first, place - path[0], order=1) > 0.5 for place in path]
    pairs = zip(moved, video.masks, strict=True)
    return min(float((one & two).sum() / (one | two).sum()) for one, two in pairs)


def spectrum_slope(frame: NDArray[np.uint8]) -> float:
    """Slope of the logarithm of the radially averaged power over the logarithm of frequency."""
    grey = frame.mean(axis=-1)
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.fftfreq(grey.shape[1]))
    edges = np.geomspace(0.02, 0.4, 13)
    ring = np.digitize(frequency, edges)
    mean_power = [power[ring == number].mean() for number in range(1, len(edges))]
    return float(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(mean_power), 1)[0])


def test_backgrounds_never_change(videos: list[SampleVideo], small_videos: list[SampleVideo]) -> None:
    for video in videos + small_videos:
        never = background_of(video)[1]
        assert never.mean() > 0.2
        assert np.ptp(video.frames[:, never], axis=0).max() == 0, video.video_id


def test_backgrounds_have_the_spectrum_contrast_and_colour_of_photographs(videos: list[SampleVideo]) -> None:
    for video in videos:
        frame = video.frames[0]
        assert -2.8 < spectrum_slope(frame) < -1.5, video.video_id
        never = frame[background_of(video)[1]]
        assert never.mean(axis=-1).std() > 40
        assert np.percentile(never, 1) < 25 and np.percentile(never, 99) > 230
        assert np.corrcoef(never.T)[np.triu_indices(3, 1)].min() > 0.7, "garish"


def test_objects_stand_out_from_the_background(videos: list[SampleVideo]) -> None:
    for video in videos:
        background, _ = background_of(video)
        # Where the object is less than half of the time, the median is what lies behind it.
        where_seen = [mask & (video.masks.mean(axis=0) < 0.5) for mask in video.masks]
        difference = [
            np.abs(frame[seen].astype(int) - background[seen]).max(axis=-1)
            for frame, seen in zip(video.frames, where_seen, strict=True)
        ]
        assert (np.concatenate(difference) > 25).mean() > 0.8, video.video_id


def test_objects_cover_4_to_10_percent_and_stay_off_the_border(
    videos: list[SampleVideo], small_videos: list[SampleVideo]
) -> None:
    for video in videos + small_videos:
        areas = video.masks.mean(axis=(1, 2))
        assert areas.min() >= 0.04 and areas.max() <= 0.10, video.video_id
        inner = video.masks[:, 2:-2, 2:-2]
        assert inner.sum() == video.masks.sum(), video.video_id


def test_each_video_has_one_object_in_one_piece(videos: list[SampleVideo]) -> None:
    for video in videos:
        assert all(ndimage.label(mask)[1] == 1 for mask in video.masks)


def still(path: Floats) -> bool:
    return bool(np.ptp(path, axis=0).max() < 2)


def turns(positions: Floats) -> int:
    """How often a coordinate reverses its direction."""
    steps = np.sign(np.diff(positions))
    return sum(before * after < 0 for before, after in pairwise(steps[steps != 0]))


def is_slide(video: SampleVideo, path: Floats) -> bool:
    y, x = path.T
    return bool(np.ptp(y) < 1 and np.ptp(x) > 1.5 * diameter(video))


def is_bounce(video: SampleVideo, path: Floats) -> bool:
    y, x = path.T
    falls_ever_faster = (np.diff(y, 2) > 0).mean() > 0.75
    return bool(np.ptp(x) < 1 and np.ptp(y) > diameter(video) and falls_ever_faster)


def is_orbit(video: SampleVideo, path: Floats) -> bool:
    around = path - (path.min(axis=0) + path.max(axis=0)) / 2
    radius = np.hypot(*around.T)
    angle = np.unwrap(np.arctan2(*around.T))
    closed = np.hypot(*(path[12:] - path[0]).T).min() < np.hypot(*np.diff(path, axis=0).T).max()
    return bool(radius.min() > 0.9 * radius.max() > 5 and abs(angle[-1] - angle[0]) > 2 * np.pi and closed)


def is_spin(video: SampleVideo, path: Floats) -> bool:
    areas = video.masks.sum(axis=(1, 2))
    return bool(still(path) and areas.max() < 1.1 * areas.min() and least_overlap(video) < 0.8)


def is_zoom(video: SampleVideo, path: Floats) -> bool:
    areas = video.masks.sum(axis=(1, 2))
    return bool(still(path) and areas.max() > 1.8 * areas.min())


def is_zigzag(video: SampleVideo, path: Floats) -> bool:
    y, x = path.T
    slanted = (np.abs(np.diff(path, axis=0)).min(axis=1) > 0.5).mean() > 0.7
    return bool(slanted and np.ptp(x) > diameter(video) and turns(y) > turns(x) + 1)


def test_the_path_alone_tells_every_class(videos: list[SampleVideo], small_videos: list[SampleVideo]) -> None:
    ways: tuple[Callable[[SampleVideo, Floats], bool], ...] = (
        is_slide,
        is_bounce,
        is_orbit,
        is_spin,
        is_zoom,
        is_zigzag,
    )
    for video in videos + small_videos:
        seen = [way.__name__ for way in ways if way(video, centroids(video))]
        assert seen == [f"is_{video.class_name}"], video.video_id


@pytest.mark.parametrize("class_name", ["slide", "bounce", "orbit", "zigzag"])
def test_moving_objects_travel_several_diameters_and_keep_their_shape(
    class_name: str, videos: list[SampleVideo]
) -> None:
    video = videos[SAMPLE_CLASSES.index(class_name)]
    travel = np.hypot(*np.diff(centroids(video), axis=0).T).sum()
    assert travel > 3 * diameter(video)
    assert least_overlap(video) > 0.9


def test_looks_do_not_tell_the_class(stills: list[SampleVideo]) -> None:
    """A classifier that sees colours and outlines, but no motion, is hardly better than chance."""
    looks = []
    for video in stills:
        frame, mask = video.frames[0], video.masks[0]
        y, x = np.array(mask.nonzero()) / np.sqrt(mask.sum())
        thickness, length = np.linalg.eigvalsh(np.cov(y, x))
        inside, outside = frame[mask], frame[~mask]
        looks.append([*inside.mean(axis=0), *inside.std(axis=0), *outside.mean(axis=0), thickness, length])
    features = np.array(looks)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = np.array([video.label for video in stills])
    hits = 0
    for held_out, label in enumerate(labels):
        rest = np.arange(len(labels)) != held_out
        centres = [features[rest & (labels == one)].mean(axis=0) for one in range(len(SAMPLE_CLASSES))]
        hits += int(np.argmin([np.linalg.norm(features[held_out] - centre) for centre in centres]) == label)
    assert hits < 0.4 * len(labels)


def test_every_video_looks_different(stills: list[SampleVideo]) -> None:
    frames = [video.frames[0] for video in stills]
    assert all((one != two).mean() > 0.9 for n, one in enumerate(frames) for two in frames[:n])


def test_the_set_is_labelled_and_both_splits_hold_every_class(stills: list[SampleVideo]) -> None:
    assert len(stills) == 30 and len({video.video_id for video in stills}) == 30
    assert stills[0].video_id == "slide/slide_00.mp4"
    for label, class_name in enumerate(SAMPLE_CLASSES):
        members = [video for video in stills if video.label == label]
        assert {video.class_name for video in members} == {class_name}
        assert all(video.video_id.startswith(f"{class_name}/{class_name}_") for video in members)
        assert sorted(video.split for video in members) == ["test"] * 2 + ["train"] * 3
    assert {video.split for video in stills[: 2 * len(SAMPLE_CLASSES)]} == {"train", "test"}


def test_frames_and_masks_have_the_promised_form(videos: list[SampleVideo]) -> None:
    assert len(videos) == len(SAMPLE_CLASSES) >= 6 and SAMPLE_FPS == 24
    for video in videos:
        assert video.frames.shape == (48, 144, 192, 3) and video.frames.dtype == np.uint8
        assert video.masks.shape == (48, 144, 192) and video.masks.dtype == bool


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(small_videos: list[SampleVideo]) -> None:
    again = next(draw_sample(size=SMALL, seed=7))
    assert again.frames.tobytes() == small_videos[0].frames.tobytes()
    assert again.masks.tobytes() == small_videos[0].masks.tobytes()
    other = next(draw_sample(size=SMALL, seed=8))
    assert (other.frames != again.frames).mean() > 0.9


def test_fewer_videos_or_frames_are_a_prefix_of_more(small_videos: list[SampleVideo]) -> None:
    endless = draw_sample(videos_per_class=10**9, frames=5, size=SMALL, seed=7)
    for few, many in zip(islice(endless, 6), small_videos, strict=True):
        assert (few.video_id, few.split) == (many.video_id, many.split)
        assert few.frames.tobytes() == many.frames[:5].tobytes()


@pytest.mark.parametrize("size", [(48, 96), (96, 48)])
def test_every_size_it_accepts_holds_the_objects(size: tuple[int, int]) -> None:
    for video in draw_sample(videos_per_class=1, size=size, seed=3):
        assert video.masks[:, 1:-1, 1:-1].sum() == video.masks.sum() > 0
        assert video.masks.mean(axis=(1, 2)).max() < 0.11


@pytest.mark.parametrize(
    "wrong",
    [{"videos_per_class": 0}, {"frames": 0}, {"size": (40, 64)}, {"size": (64, 160)}],
)
def test_what_it_cannot_draw_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"size must|need at least"):
        draw_sample(**wrong)

"""The controlled set: no moment tells the motion, RHO is honoured, parts are disjoint, masks and cameras are true."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, stats

from s2vc.manifests.choices import TEST_PARTS
from s2vc.manifests.controlled import (
    PARTS,
    ControlledVideo,
    camera_path,
    camera_view,
    centre_range,
    draw_toy,
    draw_video,
    plan_part,
    random_streams,
)
from s2vc.manifests.motions import AREA, MOTIONS, draw_poses, fold
from s2vc.manifests.sample import SAMPLE_FPS
from s2vc.manifests.scenes import SCENES, draw_scene
from tests.support.classifiers import linear_discriminant

SIZE = (48, 64)
ROOM = (0.18, 0.35)
"""Of a typical toy in frames of 3:4."""


def poses_at(motion: str, time: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Poses of `count` videos of a motion: (count, T, 4)."""
    rng = np.random.default_rng([seed, MOTIONS.index(motion)])
    return np.stack([draw_poses(motion, time, ROOM, rng) for _ in range(count)])


@pytest.fixture(scope="module")
def snapshots() -> dict[str, np.ndarray]:
    """Poses of 1,500 videos of each motion in frames 0, 10 and 35: (1500, 3, 4)."""
    return {motion: poses_at(motion, np.array([0, 10, 35]) / SAMPLE_FPS, 1500, 0) for motion in MOTIONS}


def test_at_every_moment_each_coordinate_is_uniform_whatever_the_motion(snapshots: dict[str, np.ndarray]) -> None:
    low = np.array([-ROOM[0], -ROOM[1], 0, np.log(AREA[0])])
    width = np.array([2 * ROOM[0], 2 * ROOM[1], 2 * np.pi, np.log(AREA[1] / AREA[0])])
    values = [
        stats.kstest(poses[:, moment, k], "uniform", (low[k], width[k])).pvalue
        for poses in snapshots.values()
        for moment in range(3)
        for k in range(4)
    ]
    assert len(values) == 144
    assert min(values) > 0.05 / 144  # none of them, by Bonferroni
    assert np.mean(np.array(values) < 0.1) < 0.2  # nor do they crowd at the low end


def test_at_every_moment_the_coordinates_are_independent(snapshots: dict[str, np.ndarray]) -> None:
    for motion, poses in snapshots.items():
        for moment in range(3):
            angle = poses[:, moment, 2]
            four = [poses[:, moment, 0], poses[:, moment, 1], np.cos(angle), np.sin(angle), poses[:, moment, 3]]
            off_diagonal = np.corrcoef(four)[np.triu_indices(5, 1)]
            assert np.abs(off_diagonal).max() < 4 / np.sqrt(len(poses)), motion


def test_one_pose_tells_nothing_and_their_sequence_tells_the_motion() -> None:
    time = np.arange(36) / SAMPLE_FPS
    train, test = ([poses_at(m, time, count, seed) for m in MOTIONS] for count, seed in ((200, 1), (60, 2)))
    labels, expected = np.repeat(np.arange(12), 200), np.repeat(np.arange(12), 60)
    seen, asked = (moments(np.concatenate(of)[:, 9]) for of in (train, test))
    assert (linear_discriminant(seen, labels, asked) == expected).mean() < 1 / 12 + 0.03
    seen, asked = (np.log(spectra(np.concatenate(of)) + 1e-3) for of in (train, test))
    assert (linear_discriminant(seen, labels, asked) == expected).mean() > 0.93


def moments(poses: np.ndarray) -> np.ndarray:
    """Poses (N, 4) and their squares and products, so that a linear rule draws curved borders."""
    y, x, angle, area = poses.T
    values = np.column_stack([y, x, np.cos(angle), np.sin(angle), area])
    pairs = [values[:, i] * values[:, j] for i in range(5) for j in range(i, 5)]
    return np.column_stack([values, *pairs[:9], *pairs[10:]])  # cos² + sin² is 1


def spectra(poses: np.ndarray) -> np.ndarray:
    """How fast, and how often to and fro, each coordinate changes: poses (N, T, 4) -> (N, n), whatever the phase."""
    turn = np.exp(1j * poses[..., 2])
    y, x, area = (np.diff(poses[..., k], axis=1) for k in (0, 1, 3))
    rates = [np.abs(np.fft.rfft(v, axis=1)) for v in (y, x, area, np.angle(turn[:, 1:] / turn[:, :-1]))]
    round_about = np.abs(np.fft.fft(x + 1j * y, axis=1))  # differs between turning one way and the other
    both = np.sort(np.stack([round_about, round_about[:, ::-1]]), axis=0)
    return np.concatenate([*rates, *both], axis=1)


def test_a_fold_reflects_between_two_mirrors() -> None:
    assert fold(np.array([0, 0.3, 1, 1.2, 2, 3, 3.5, -1.5]), 1.0) == pytest.approx([0, 0.3, 1, 0.8, 0, -1, -0.5, -0.5])


@pytest.mark.parametrize("shift", [0.0, 0.7, 1.0])
def test_in_training_the_partner_comes_as_often_as_was_asked(shift: float) -> None:
    videos = plan_part("train", 200, shift, 0)
    share = np.mean([SCENES.index(v.scene) == MOTIONS.index(v.motion) for v in videos])
    expected = shift + (1 - shift) / 12
    assert abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / len(videos))
    for motion in MOTIONS:
        assert sum(v.motion == motion for v in videos) == 200
    if shift == 0:
        assert stats.chisquare(np.unique([v.scene for v in videos], return_counts=True)[1]).pvalue > 1e-3


def test_tests_hold_partners_only_others_only_or_any() -> None:
    parts = {part: plan_part(part, 120, 0.9, 0) for part in TEST_PARTS}
    steps = {
        part: np.array([(SCENES.index(v.scene) - MOTIONS.index(v.motion)) % 12 for v in videos])
        for part, videos in parts.items()
    }
    assert (steps["matched"] == 0).all()
    assert np.unique(steps["swapped"]).tolist() == list(range(1, 12))
    assert stats.chisquare(np.bincount(steps["swapped"])[1:]).pvalue > 1e-3
    for part in ("neutral", "shake", "pan"):
        assert stats.chisquare(np.bincount(steps[part], minlength=12)).pvalue > 1e-3
        assert plan_part(part, 120, 0.0, 0) == parts[part], "shift is of the training set alone"


def test_the_shift_changes_the_scene_and_nothing_else() -> None:
    free, tied = (plan_part("train", 4, shift, 3) for shift in (0.0, 1.0))
    other = next(k for k in range(len(free)) if free[k].scene != tied[k].scene)
    (one, mask), (two, same_mask) = (draw_video(videos[other], 3, SIZE) for videos in (free, tied))
    assert (mask == same_mask).all()
    inside = ndimage.binary_erosion(mask, np.ones((1, 5, 5)))
    assert (one[inside] == two[inside]).all() and inside.sum() > 50
    assert (one[~mask] != two[~mask]).mean() > 0.9


def test_no_two_videos_share_a_toy_a_background_or_a_motion() -> None:
    assert len({tuple(s.generate_state(4)) for p in PARTS for k in range(24) for s in random_streams(p, k, 0)}) == 720
    stills = [draw_video(ControlledVideo(part, 5, "orbit", "sea", 0), 1, SIZE)[0][0] for part in PARTS]
    stills += [draw_video(ControlledVideo("train", 17, "orbit", "sea", 0), 1, SIZE)[0][0]]
    assert all((one != two).mean() > 0.9 for k, one in enumerate(stills) for two in stills[:k])
    ids = [v.video_id for part in PARTS for v in plan_part(part, 3, 0.5, 0)]
    assert len(set(ids)) == len(ids) == 6 * 36


@pytest.mark.parametrize("part", PARTS)
def test_masks_cover_what_differs_from_the_background_under_every_camera(part: str) -> None:
    for video in plan_part(part, 1, 0.0, 1)[::4]:
        frames, masks = draw_video(video, 8, SIZE)
        bare = without_toy(video, 8)
        differs = (frames != bare).any(axis=-1)
        for mask, changed in zip(masks, differs, strict=True):
            assert 0.01 < mask.mean() < 1.1 * AREA[1]
            assert changed[mask].mean() > 0.98
            assert not (changed & ~ndimage.binary_dilation(mask, iterations=3)).any()
        if part not in ("shake", "pan"):
            assert (frames[:, ~masks.any(axis=0) & ~differs.any(axis=0)].std(axis=0) == 0).all()


@pytest.mark.parametrize("part", ["neutral", "shake", "pan"])
def test_the_toy_is_moved_by_the_camera_as_its_background_is(part: str) -> None:
    time = np.arange(30) / SAMPLE_FPS
    for video in plan_part(part, 1, 0.0, 2)[:4]:
        _, _, toy, motion, camera = map(np.random.default_rng, random_streams(part, video.number, 2))
        sprite = draw_toy(toy, SIZE)
        from_the_middle = draw_poses(video.motion, time, centre_range(sprite, SIZE), motion)[:, :2]
        expected = (np.array(SIZE) - 1) / 2 + min(SIZE) * (from_the_middle + camera_path(part, time, camera))
        masks = draw_video(video, 30, SIZE)[1]
        whole = [m.sum() == m[1:-1, 1:-1].sum() for m in masks]
        found = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])
        assert np.abs(found - expected)[whole].max() < 1 and np.mean(whole) > 0.4


def without_toy(video: ControlledVideo, frames: int) -> np.ndarray:
    """The frames of a video as they would be with nothing in front of its background."""
    streams = random_streams(video.part, video.number, video.seed)
    margin = int(np.ceil(0.15 * min(SIZE))) + 2  # as far as cameras go
    canvas = draw_scene(
        video.scene, (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin), min(SIZE), np.random.default_rng(streams[1])
    )
    path = camera_path(video.part, np.arange(frames) / SAMPLE_FPS, np.random.default_rng(streams[4]))
    return camera_view(canvas, min(SIZE) * path, SIZE)


def test_cameras_move_the_background_and_still_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (48 + 20, 64 + 20, 3)).astype(np.uint8)
    there = camera_view(canvas, np.array([[0.0, 0.0], [3, -2]]), SIZE).astype(int)
    assert np.abs(there[0] - canvas[10:58, 10:74]).max() <= 1
    assert np.abs(there[1] - canvas[7:55, 12:76]).max() <= 1  # what was 3 above and 2 to the right is here now
    still = plan_part("neutral", 1, 0.0, 0)[0]
    for part, least in (("neutral", 0), ("shake", 0.5), ("pan", 0.5)):
        moved = without_toy(dataclasses.replace(still, part=part), 12)
        assert (moved[0] != moved[-1]).mean() >= least
        assert part != "neutral" or (moved == moved[0]).all()


def test_a_pan_is_straight_and_even_and_a_shake_is_small_and_smooth() -> None:
    time = np.arange(36) / SAMPLE_FPS
    directions = []
    for seed in range(40):
        pan, shake = (camera_path(part, time, np.random.default_rng(seed)) for part in ("pan", "shake"))
        steps = np.diff(pan, axis=0)
        assert np.allclose(steps, steps[0]) and 0.1 <= np.hypot(*steps[0]) * SAMPLE_FPS <= 0.19
        directions.append(np.arctan2(*steps[0]))
        assert np.abs(pan).max() <= 0.15 and 0.01 < np.abs(shake).max() <= 0.045
        assert np.abs(np.diff(shake, axis=0)).max() < 0.045  # some pixels a frame at most, no jumps
    assert stats.kstest(directions, "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3


def test_the_toy_is_inside_the_frame_wherever_a_still_camera_looks() -> None:
    for size in ((48, 96), (96, 48), (48, 64)):
        for motion in ("pulse", "spin", "orbit"):
            masks = draw_video(ControlledVideo("train", MOTIONS.index(motion), motion, "ice", 4), 12, size)[1]
            assert masks[:, 2:-2, 2:-2].sum() == masks.sum() > 0


def test_toys_come_in_all_hues_whatever_lies_behind() -> None:
    hues = []
    for seed in range(60):
        toy = draw_toy(np.random.default_rng(seed), SIZE)
        red, green, blue = toy.pixels[:3].sum(axis=(1, 2))
        hues.append(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue))
    assert stats.kstest(hues, "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3


def test_colours_and_gradients_of_a_still_tell_the_scene() -> None:
    stills = {
        scene: [draw_scene(scene, SIZE, SIZE[0], np.random.default_rng([k, n])) for n in range(12)]
        for k, scene in enumerate(SCENES)
    }
    looks = np.array([[colours_and_gradients(still) for still in of] for of in stills.values()])
    seen, asked = (part.reshape(-1, looks.shape[-1]) for part in (looks[:, :8], looks[:, 8:]))
    classes = linear_discriminant(seen, np.repeat(np.arange(12), 8), asked)
    assert (classes == np.repeat(np.arange(12), 4)).mean() > 0.93


def colours_and_gradients(still: np.ndarray) -> np.ndarray:
    """Mean colour, and strength and direction of the gradients of grey: (6,)."""
    grey = still.mean(axis=-1)
    y, x = np.gradient(grey)
    strength = np.hypot(y, x).mean() / grey.std()
    doubled = ((x + 1j * y) ** 2).mean() / (x**2 + y**2).mean()
    return np.array([*still.mean(axis=(0, 1)), strength * 100, doubled.real * 100, doubled.imag * 100])


def test_the_same_seed_gives_the_same_bytes_and_fewer_are_a_prefix_of_more() -> None:
    videos = plan_part("shake", 2, 0.5, 7)
    assert plan_part("shake", 1, 0.5, 7) == videos[:12]
    frames, masks = draw_video(videos[3], 6, SIZE)
    for count in (6, 2):
        again, again_masks = draw_video(videos[3], count, SIZE)
        assert again.tobytes() == frames[:count].tobytes() and again_masks.tobytes() == masks[:count].tobytes()
    assert (draw_video(dataclasses.replace(videos[3], seed=8), 1, SIZE)[0] != frames[:1]).mean() > 0.9
    assert frames.dtype == np.uint8 and frames.shape == (6, *SIZE, 3)
    assert masks.dtype == bool and masks.shape == (6, *SIZE)


def test_names_are_sorted_so_that_labels_number_them_as_everywhere() -> None:
    assert list(MOTIONS) == sorted(MOTIONS) and list(SCENES) == sorted(SCENES)
    assert len(MOTIONS) == len(SCENES) == 12
    assert plan_part("pan", 1, 0.0, 0)[2].video_id == "pan/diagonal/diagonal_0000.mp4"


@pytest.mark.parametrize("size", [(46, 64), (48, 100), (48, 65)])
def test_frames_without_room_for_a_toy_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="sides are even"):
        draw_video(plan_part("train", 1, 0.0, 0)[0], 1, size)

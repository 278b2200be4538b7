"""The controlled set: videos with two labels, a motion and a scene, whose correlation is set in training and broken in
tests.

A toy moves in one of twelve ways (manifests.motions) over a background of one of twelve families (manifests.scenes).
The i-th scene is the partner of the i-th motion: in training a video has its motion's partner with probability RHO,
else any of the twelve, each as likely. Tests hold partners only (`matched`), others only (`swapped`), or any
(`neutral`), and any under a camera that is not still (`shake`, `pan`). The toy's look comes from a stream of random
numbers that sees neither label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray
from scipy import ndimage

from s2vc.manifests.backgrounds import Bytes, Floats
from s2vc.manifests.choices import TEST_PARTS, TRAIN
from s2vc.manifests.motions import AREA, MOTIONS, draw_poses, fold
from s2vc.manifests.sample import BORDER, MAX_ASPECT, MIN_SIDE, SAMPLE_FPS, SPRITE_SIDE, Sprite, draw_sprite, paste
from s2vc.manifests.scenes import SCENES, draw_scene

PARTS = (TRAIN, *TEST_PARTS)

SHAKE, PAN = "shake", "pan"
CAMERA_REACH = 0.15
"""A camera goes so far from the middle at most, in shorter sides of the frame."""


@dataclass(frozen=True)
class ControlledVideo:
    """Represents a video of the set, not drawn yet. number: its own in its part, motions in turn."""

    part: str
    number: int
    motion: str
    scene: str
    seed: int

    @property
    def video_id(self) -> str:
        """Name the video by part, motion and number."""
        return f"{self.part}/{self.motion}/{self.motion}_{self.number // len(MOTIONS):04d}.mp4"


def plan_part(part: str, per_class: int, partner_probability: float, seed: int) -> list[ControlledVideo]:
    """Plan `per_class` videos of each motion. Fewer are a prefix of more. partner_probability: RHO, for training."""
    return [_plan(part, number, partner_probability, seed) for number in range(per_class * len(MOTIONS))]


def _plan(part: str, number: int, partner_probability: float, seed: int) -> ControlledVideo:
    motion = number % len(MOTIONS)
    rng = default_rng(random_streams(part, number, seed)[0])
    chance, other = rng.random(), int(rng.integers(len(SCENES) - 1))
    partner = motion
    if part == "swapped":
        scene = (partner + 1 + other) % len(SCENES)
    elif part == "matched" or (part == TRAIN and chance < partner_probability):
        scene = partner
    else:
        scene = int(rng.integers(len(SCENES)))
    return ControlledVideo(part, number, MOTIONS[motion], SCENES[scene], seed)


def random_streams(part: str, number: int, seed: int) -> list[SeedSequence]:
    """Give streams for the scene's choice, background, toy, motion and camera; no two videos share one."""
    return SeedSequence((seed, 1 + PARTS.index(part), number)).spawn(5)


def draw_video(video: ControlledVideo, frames: int, size: tuple[int, int]) -> tuple[Bytes, NDArray[np.bool_]]:
    """Draw frames uint8 (T, H, W, 3) RGB, and masks bool (T, H, W), true where the toy is seen.

    Fewer frames are a prefix of more. Raises ValueError for a size that `check_size` refuses.
    """
    check_size(size)
    _, background, toy, motion, camera = (
        default_rng(stream) for stream in random_streams(video.part, video.number, video.seed)
    )
    unit = min(size)
    time = np.arange(frames) / SAMPLE_FPS
    sprite = draw_toy(toy, size)
    poses = draw_poses(video.motion, time, centre_range(sprite, size), motion)
    offsets = unit * camera_path(video.part, time, camera)
    margin = _margin(size)
    canvas = draw_scene(video.scene, (size[0] + 2 * margin, size[1] + 2 * margin), unit, background)
    pictures = camera_view(canvas, offsets, size)
    masks = np.zeros(pictures.shape[:3], dtype=bool)
    scales = np.exp(poses[:, 3] / 2) * _scale_of_whole_frame(sprite, size)
    centres = (np.array(size) - 1) / 2 + unit * poses[:, :2] + offsets
    for frame, mask, centre, angle, scale in zip(pictures, masks, centres, poses[:, 2], scales, strict=True):
        paste(frame, mask, sprite, np.array([*centre, angle, scale]))
    return pictures, masks


def check_size(size: tuple[int, int]) -> None:
    """Raise ValueError for a frame (height, width) in which the toys have no room, or that H.264 has none for."""
    if min(size) < MIN_SIDE or max(size) > MAX_ASPECT * min(size) or any(side % 2 for side in size):
        raise ValueError(
            f"sides are even, {MIN_SIDE} pixels or more and {MAX_ASPECT:g}:1 at most, not {size[0]}x{size[1]}"
        )


def draw_toy(rng: Generator, size: tuple[int, int]) -> Sprite:
    """Draw a toy of any hue, no larger than about three times the size it is seen at."""
    sprite = draw_sprite(rng, 0.0, np.pi)
    factor = 1
    while SPRITE_SIDE % (4 * factor) == 0 and 2 * factor * _scale_of_whole_frame(sprite, size) * AREA[1] ** 0.5 < 0.7:
        factor *= 2
    return sprite.shrunk(factor)


def _scale_of_whole_frame(sprite: Sprite, size: tuple[int, int]) -> float:
    """Compute the scale at which a sprite covers as many pixels as the frame has."""
    return float(np.sqrt(size[0] * size[1] / sprite.pixels[3].sum()))


def centre_range(sprite: Sprite, size: tuple[int, int]) -> tuple[float, float]:
    """Compute how far a toy's centre may go, up or down and left or right, in shorter sides of the frame.

    Even at its largest it is inside then, however it is turned: place says nothing of size, angle or motion.
    """
    reach = np.hypot(*sprite.outline).max() * _scale_of_whole_frame(sprite, size) * AREA[1] ** 0.5
    half_y, half_x = ((side - 1) / 2 - BORDER - reach for side in size)
    return half_y / min(size), half_x / min(size)


def camera_path(part: str, time: Floats, rng: Generator) -> Floats:
    """Tell where the camera moves the picture at times (T,) in seconds: (T, 2) of y, x in shorter sides of the frame.

    shake: a hand that holds it, three slow waves each way. pan: a straight way at constant speed through the middle,
    and back where it would go further than CAMERA_REACH. Other parts: zeros.
    """
    if part == SHAKE:
        rates, phases = rng.uniform(0.7, 3.5, (2, 3, 1)), rng.uniform(0, 2 * np.pi, (2, 3, 1))
        sizes = rng.uniform(0.005, 0.015, (2, 3, 1))
        return (sizes * np.sin(2 * np.pi * rates * time + phases)).sum(axis=1).T
    if part == PAN:
        direction, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.19)
        way = fold(speed * time - CAMERA_REACH, CAMERA_REACH)
        return way[:, None] * np.array([np.sin(direction), np.cos(direction)])
    return np.zeros((len(time), 2))


def camera_view(canvas: Bytes, offsets: Floats, size: tuple[int, int]) -> Bytes:
    """Cut the middle of a canvas, moved by offsets (T, 2) in pixels: (T, H, W, 3); without offsets all frames are the
    same.
    Values between pixels come from cubic splines, which keep a moving picture as sharp as a still one."""
    margin = _margin(size)
    still = canvas[margin : margin + size[0], margin : margin + size[1]]
    if not offsets.any():
        return np.repeat(still[None], len(offsets), axis=0)
    filtered = [ndimage.spline_filter(canvas[..., c].astype(np.float32), output=np.float32) for c in range(3)]
    frames = np.empty((len(offsets), *still.shape), dtype=np.uint8)
    for frame, offset in zip(frames, offsets, strict=True):
        for c, plane in enumerate(filtered):
            moved = ndimage.affine_transform(plane, np.ones(2), margin - offset, size, prefilter=False)
            frame[..., c] = np.clip(np.round(moved), 0, 255)
    return frames


def _margin(size: tuple[int, int]) -> int:
    """Count the pixels of a canvas around the frame: where a camera may go, and two for the splines."""
    return int(np.ceil(CAMERA_REACH * min(size))) + 2

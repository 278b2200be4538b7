"""The built-in labelled sample set: textured toys moving over perfectly still, photograph-like backgrounds.

The class is a way of moving. Shape, pattern, colours and background come from a random stream that never sees the
class, so only motion tells the classes apart.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy import ndimage

from s2vc.manifests.backgrounds import Bytes, Floats, draw_background, pink_noise, rotated

SAMPLE_FPS = 24
SAMPLE_CLASSES: tuple[str, ...] = ("slide", "bounce", "orbit", "spin", "zoom", "zigzag")

# This repeats over the videos of a class: 3 train and 2 test out of 5, and both splits from 2 videos on.
SPLITS = ("train", "test", "train", "train", "test")
REST_AREA = (0.048, 0.062)  # An object covers such a share of the frame while it does not zoom.
ZOOM_AREA = (0.043, 0.096)  # The share swings between these two in a zoom.
BORDER = 3  # So many pixels lie between an object and the edge of the frame.
MIN_SIDE, MAX_ASPECT = 48, 2.0  # Every object fits into such frames.
SPRITE_SIDE = 176  # It is about twice the size at which objects appear, enough for crisp resampling.
HUE_SPREAD = 2.0  # An object's hue is so far, in radians, from the background's opposite one.


@dataclass(frozen=True)
class SampleVideo:
    """Holds one drawn video: frames uint8 (T, H, W, 3) RGB; masks bool (T, H, W), true where the object is seen."""

    video_id: str
    class_name: str
    label: int
    split: str
    frames: Bytes
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Sprite:
    """Represents an object to paste, centred on its centroid."""

    pixels: Floats  # (4, S, S): RGB (0 to 255) times coverage, and coverage (0 to 1)

    @cached_property
    def outline(self) -> Floats:
        """Give the offsets (y, x) of covered sprite pixels from the centroid, (2, N)."""
        return np.argwhere(self.pixels[3] > 0).T - (self.pixels.shape[1] - 1) / 2

    def shrunk(self, factor: int) -> "Sprite":
        """Shrink it, each pixel the mean of factor x factor: what is pasted still smaller would flicker."""
        side = self.pixels.shape[1] // factor
        return Sprite(self.pixels.reshape(4, side, factor, side, factor).mean(axis=(2, 4)))


def draw_sample(
    videos_per_class: int = 5, frames: int = 48, size: tuple[int, int] = (144, 192), seed: int = 0
) -> Iterator[SampleVideo]:
    """Draw the sample set one video at a time, in rounds of one video per class; size is (height, width).

    A video depends on its position, the seed and the size alone: fewer videos or frames are a prefix of more. Raises
    ValueError for no videos, no frames, and a frame in which the objects do not fit.
    """
    if videos_per_class < 1 or frames < 1:
        raise ValueError(f"need at least one video and one frame, got {videos_per_class} and {frames}")
    if min(size) < MIN_SIDE or max(size) > MAX_ASPECT * min(size):
        raise ValueError(f"size must be at least {MIN_SIDE} pixels and at most {MAX_ASPECT}:1, got {size}")
    return (_draw_video(position, frames, size, seed) for position in range(videos_per_class * len(SAMPLE_CLASSES)))


def _draw_video(position: int, frames: int, size: tuple[int, int], seed: int) -> SampleVideo:
    number, label = divmod(position, len(SAMPLE_CLASSES))
    class_name = SAMPLE_CLASSES[label]
    look, motion = default_rng((seed, position)).spawn(2)
    background = draw_background(look, size)
    sprite = draw_sprite(look, opposite_hue(background), HUE_SPREAD)
    video = np.repeat(background[None], frames, axis=0)
    masks = np.zeros(video.shape[:3], dtype=bool)
    poses = _poses(class_name, np.arange(frames) / SAMPLE_FPS, sprite, size, motion)
    for frame, mask, pose in zip(video, masks, poses, strict=True):
        paste(frame, mask, sprite, pose)
    video_id = f"{class_name}/{class_name}_{number:02d}.mp4"
    return SampleVideo(video_id, class_name, label, SPLITS[number % len(SPLITS)], video, masks)


def draw_sprite(rng: Generator, hue: float, hue_range: float) -> Sprite:
    """Draw a toy: a silhouette without rotational symmetry, a two-colour pattern, a lit rounded edge.

    Its vivid colour has a hue (radians, 0 is red) within `hue_range` of the one given.
    """
    y, x = np.mgrid[-1.15 : 1.15 : SPRITE_SIDE * 1j, -1.15 : 1.15 : SPRITE_SIDE * 1j]
    # Blurring and cutting rounds the corners, as on anything made to be held.
    solid = ndimage.gaussian_filter(_silhouette(rng, x, y).astype(float), 3) > 0.5
    off_centre = np.array(ndimage.center_of_mass(solid)) - (SPRITE_SIDE - 1) / 2
    solid = ndimage.shift(solid.astype(float), -off_centre, order=1) > 0.5
    height = np.sqrt(np.minimum(ndimage.distance_transform_edt(solid) / 14, 1))
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(height, 2))
    light = (1 + 8 * (0.8 * slope_y + 0.6 * slope_x)) * (1 + 0.08 * pink_noise(rng, solid.shape))
    colour = 255 * np.clip(_paintwork(rng, hue, hue_range, x, y) * light[..., None], 0, 1)
    layers = np.dstack([colour, np.ones_like(light)]) * solid[..., None]
    return Sprite(ndimage.gaussian_filter(layers.transpose(2, 0, 1), (0, 0.8, 0.8), truncate=2.5))


def _silhouette(rng: Generator, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Draw a bar, star, crescent, corner, drop or arrow."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    arms, fat = rng.integers(3, 6), rng.uniform(0.9, 1.1)
    shapes = (
        np.maximum(np.abs(x), 2.3 * fat * np.abs(y)) < 1,
        radius < (0.45 + 0.55 * (0.5 + 0.5 * np.cos(arms * angle)) ** 1.5) * (0.8 + 0.2 * np.cos(angle)),
        (radius < 1) & (np.hypot(x - 0.6, y) > 0.72 * fat),
        (np.maximum(np.abs(x), np.abs(y)) < 0.85) & (np.minimum(x, y) < -0.2 * fat),
        np.where(x < -0.4, np.hypot(x + 0.4, y) < 0.58 * fat, np.abs(y) < 0.41 * fat * (1 - x)),
        np.where(x > 0.1, np.abs(y) < 0.85 * (1 - x), np.abs(y) < 0.4 * fat) & (np.abs(x) < 1),
    )
    return shapes[rng.integers(len(shapes))]


def opposite_hue(background: Bytes) -> float:
    """Compute the hue across the colour circle from a background's mean colour, in radians."""
    red, green, blue = background.mean(axis=(0, 1))
    return math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue) + np.pi


def _paintwork(rng: Generator, hue: float, hue_range: float, x: Floats, y: Floats) -> Floats:
    """Draw a pattern of a vivid colour, within `hue_range` of a hue, and a plain one: (S, S, 3), 0 to 1."""
    pitch = rng.uniform(9, 14)
    u, v = rotated(pitch * x, pitch * y, rng.uniform(0, np.pi))
    waves = (  # They are stripes, checks, dots, rings, zigzags and marble.
        np.sin(u),
        np.sin(u) * np.sin(v),
        np.sin(u) + np.sin(v) - 0.4,
        np.sin(np.hypot(u - 4, v)),
        np.sin(u + 1.5 * np.sin(v)),
        np.sin(u + 3 * ndimage.gaussian_filter(pink_noise(rng, x.shape), 4)),
    )
    blend = 0.5 + 0.5 * np.tanh(6 * waves[rng.integers(len(waves))])[..., None]
    tint = np.cos(hue + rng.uniform(-hue_range, hue_range) - np.array([0, 2, 4]) * np.pi / 3)
    vivid, plain = np.clip(0.5 + 0.5 * tint, 0.05, 0.95), rng.choice((0.12, 0.9)) + 0.06 * tint
    return np.asarray(vivid * blend + plain * (1 - blend))


def _poses(class_name: str, time: Floats, sprite: Sprite, size: tuple[int, int], rng: Generator) -> Floats:
    """Draw where the object is at each time (seconds): float64 (T, 4) of centre y, centre x, angle, scale."""
    area = ZOOM_AREA[1] if class_name == "zoom" else rng.uniform(*REST_AREA)
    scale = np.full_like(time, math.sqrt(area * size[0] * size[1] / sprite.pixels[3].sum()))
    angle = np.full_like(time, rng.uniform(0, 2 * np.pi))
    reach = np.hypot(*sprite.outline).max() if class_name == "spin" else _reach(sprite, angle[0])
    # It is half the way that the centre can go up and down, left and right.
    room = (np.array(size) - 1) / 2 - BORDER - scale[0] * reach
    y, x = (np.full_like(time, rest) for rest in rng.uniform(-room, room))
    way, phase = rng.choice((-1, 1)), rng.uniform()
    if class_name == "slide":
        x = room[1] * triangle(rng.uniform(0.35, 0.6) * time + phase)
    elif class_name == "bounce":
        fall = (rng.uniform(0.6, 1.0) * time + phase) % 1 * 2 - 1
        y = room[0] * (2 * fall**2 - 1)
    elif class_name == "orbit":
        turn = way * 2 * np.pi * (rng.uniform(0.55, 0.9) * time + phase)
        radius = min(room)
        y, x = radius * np.sin(turn), radius * np.cos(turn) + rng.uniform(-1, 1) * (room[1] - radius)
    elif class_name == "spin":
        angle += way * 2 * np.pi * rng.uniform(0.5, 1.0) * time
    elif class_name == "zoom":
        swing = 0.5 + 0.5 * np.cos(2 * np.pi * (rng.uniform(0.6, 1.0) * time + phase))
        scale *= (ZOOM_AREA[0] / ZOOM_AREA[1]) ** (swing / 2)
    else:
        beat = rng.uniform(0.3, 0.4)
        x = room[1] * triangle(beat * time + phase)
        y = room[0] * rng.uniform(0.7, 1.0) * triangle(rng.uniform(4, 5) * beat * time + phase)
    return np.stack([y + (size[0] - 1) / 2, x + (size[1] - 1) / 2, angle, scale], axis=1)


def triangle(phase: Floats) -> Floats:
    """Compute a wave of period 1 that goes from 1 to -1 and back at constant speed."""
    return np.abs(phase % 1 * 4 - 2) - 1


def _reach(sprite: Sprite, angle: float) -> Floats:
    """Compute how far the turned sprite extends from its centre, up or down and left or right, in sprite pixels."""
    return np.array([np.abs(side).max() for side in rotated(sprite.outline[0], sprite.outline[1], -angle)])


def paste(frame: Bytes, mask: NDArray[np.bool_], sprite: Sprite, pose: Floats) -> None:
    """Blend the sprite into one frame, and mark its mask, in place; only the object's box is touched.

    pose: centre y, centre x, angle, scale. What lies outside the frame is cut off.
    """
    centre, angle, scale = pose[:2], float(pose[2]), float(pose[3])
    reach = scale * _reach(sprite, angle) + 1
    top, left = np.maximum(centre - reach, 0).astype(int)
    bottom, right = (centre + reach + 2).astype(int)
    box = frame[top:bottom, left:right]
    matrix = np.array(rotated(np.array([1, 0]), np.array([0, 1]), angle)) / scale
    offset = (sprite.pixels.shape[1] - 1) / 2 + matrix @ (np.array([top, left]) - centre)
    colour = [ndimage.affine_transform(p, matrix, offset, box.shape[:2], order=1) for p in sprite.pixels]
    cover = colour.pop()
    box[:] = np.round(np.dstack(colour) + (1 - cover[..., None]) * box)
    mask[top:bottom, left:right] = cover > 0.5

"""The built-in labelled sample set: textured toys moving over perfectly still, photograph-like backgrounds.

The class is a way of moving. Shape, pattern, colours and background come from a random stream that never sees
the class, so only motion tells the classes apart. Backgrounds are dead leaves (textured, shaded shapes with
power-law radii hiding one another) over 1/f noise, the simplest model with the statistics of photographs:
occlusion edges at every scale, a 1/f amplitude spectrum and strongly correlated colour channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]

SAMPLE_FPS = 24
SAMPLE_CLASSES: tuple[str, ...] = ("slide", "bounce", "orbit", "spin", "zoom", "zigzag")

# Repeats over the videos of a class: 3 train and 2 test out of 5, and both splits from 2 videos on.
SPLITS = ("train", "test", "train", "train", "test")
REST_AREA = (0.048, 0.062)  # share of the frame an object covers while it does not zoom
ZOOM_AREA = (0.043, 0.096)  # the share swings between these two in a zoom
BORDER = 3  # pixels between an object and the edge of the frame
MIN_SIDE, MAX_ASPECT = 48, 2.0  # frames in which every object fits
SPRITE_SIDE = 176  # about twice the size at which objects appear: enough for crisp resampling
LEAVES = 480  # shapes painted one over the other in a background
HUE_SPREAD = 2.0  # radians around the background's opposite hue in which an object's colour lies

# Axes of natural colour (log scale): luminance, yellow against blue, red against green (Ruderman 1998).
OPPONENT = np.array([[1, 1, 1], [0.5, 0.5, -1], [1, -1, 0]], dtype=np.float32)
# What nature paints large areas with, on the last two: leaf, moss, straw, clay, bark, stone, slate, sea.
PIGMENTS = np.array([[45, -12], [28, -8], [40, 4], [38, 21], [22, 10], [8, 2], [-15, -4], [-32, -10]]) / 100


@dataclass(frozen=True)
class SampleVideo:
    """One drawn video: frames uint8 (T, H, W, 3) RGB; masks bool (T, H, W), true where the object is seen."""

    video_id: str
    class_name: str
    label: int
    split: str
    frames: Bytes
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Sprite:
    """An object to paste, centred on its centroid."""

    pixels: Floats  # (4, S, S): RGB (0 to 255) times coverage, and coverage (0 to 1)

    @cached_property
    def outline(self) -> Floats:
        """Offsets (y, x) of covered sprite pixels from the centroid, (2, N)."""
        return np.argwhere(self.pixels[3] > 0).T - (self.pixels.shape[1] - 1) / 2

    def shrunk(self, factor: int) -> "Sprite":
        """At a smaller size, each pixel the mean of factor x factor: what is pasted still smaller would flicker."""
        side = self.pixels.shape[1] // factor
        return Sprite(self.pixels.reshape(4, side, factor, side, factor).mean(axis=(2, 4)))


@dataclass(frozen=True)
class Scenery:
    """What a background is painted with, at twice its size.

    palette: (n, 3) on the OPPONENT axes; grain: noise on the same axes, (2H, 2W, 3); habit: see `_paint_leaf`; radii:
    of the smallest and the largest leaf, in pixels of the painting; leaves: how many.
    """

    palette: Floats
    grain: Floats
    habit: list[float]
    radii: tuple[float, float]
    leaves: int = LEAVES


def draw_sample(
    videos_per_class: int = 5, frames: int = 48, size: tuple[int, int] = (144, 192), seed: int = 0
) -> Iterator[SampleVideo]:
    """Draw the sample set one video at a time, in rounds of one video per class; size is (height, width).

    A video depends on its place, the seed and the size alone: fewer videos or frames are a prefix of more.
    """
    if videos_per_class < 1 or frames < 1:
        raise ValueError(f"need at least one video and one frame, got {videos_per_class} and {frames}")
    if min(size) < MIN_SIDE or max(size) > MAX_ASPECT * min(size):
        raise ValueError(f"size must be at least {MIN_SIDE} pixels and at most {MAX_ASPECT}:1, got {size}")
    return (_draw_video(place, frames, size, seed) for place in range(videos_per_class * len(SAMPLE_CLASSES)))


def _draw_video(place: int, frames: int, size: tuple[int, int], seed: int) -> SampleVideo:
    number, label = divmod(place, len(SAMPLE_CLASSES))
    class_name = SAMPLE_CLASSES[label]
    look, motion = default_rng((seed, place)).spawn(2)
    background = draw_background(look, size)
    sprite = draw_sprite(look, opposite_hue(background), HUE_SPREAD)
    video = np.repeat(background[None], frames, axis=0)
    masks = np.zeros(video.shape[:3], dtype=bool)
    poses = _poses(class_name, np.arange(frames) / SAMPLE_FPS, sprite, size, motion)
    for frame, mask, pose in zip(video, masks, poses, strict=True):
        paste(frame, mask, sprite, pose)
    video_id = f"{class_name}/{class_name}_{number:02d}.mp4"
    return SampleVideo(video_id, class_name, label, SPLITS[number % len(SPLITS)], video, masks)


def draw_background(rng: Generator, size: tuple[int, int]) -> Bytes:
    """Draw a photograph-like still scene, uint8 (H, W, 3): leaves over noise."""
    height = 2 * size[0]
    hues = rng.choice(PIGMENTS, 3, replace=False)[rng.integers(3, size=6)]
    palette = np.column_stack([rng.normal(0, 0.75, 6), hues]).astype(np.float32)
    grain = draw_grain(rng, size)
    habit = rng.uniform((-np.pi, -np.pi, 0.2, 1, 1.2), (np.pi, np.pi, 1.5, 3.5, 4)).tolist()
    return paint_background(rng, Scenery(palette, grain, habit, (height / 36, height / 2.5)))


def draw_grain(rng: Generator, size: tuple[int, int], contrast: float = 0.6) -> Floats:
    """Noise on the OPPONENT axes at twice a size, (2H, 2W, 3); contrast: deviation of its luminance."""
    return np.dstack([amount * pink_noise(rng, (2 * size[0], 2 * size[1])) for amount in (contrast, 0.05, 0.03)])


def paint_background(rng: Generator, scenery: Scenery) -> Bytes:
    """Paint a background at twice its size and expose it: uint8 (H, W, 3)."""
    palette, grain, leaves = scenery.palette, scenery.grain, scenery.leaves
    canvas = palette[0] + 2 * grain
    # Radii with density r^-3 look alike at every scale, as sizes in photographs do.
    smallest, largest = scenery.radii
    radii = rng.uniform(largest**-2.0, smallest**-2.0, leaves) ** -0.5
    colours = palette[rng.integers(len(palette), size=leaves)] + rng.normal(0, (0.3, 0.05, 0.03), (leaves, 3))
    for place, (radius, colour) in enumerate(zip(radii.tolist(), colours.astype(np.float32), strict=True)):
        if place in (leaves // 3, leaves // 2):  # a lens blurs what lies behind the plane of focus
            canvas = ndimage.gaussian_filter(canvas, (2, 2, 0))
        _paint_leaf(canvas, grain, scenery.habit, radius, colour, rng)
    # Exposed like a photograph: pixels average light, contrast is full, and the extremes roll off.
    height, width = canvas.shape[0] // 2, canvas.shape[1] // 2
    exposure = np.log(np.exp(canvas @ OPPONENT).reshape(height, 2, width, 2, 3).mean(axis=(1, 3)))
    low, high = np.percentile(exposure.mean(axis=-1), (2, 98))
    tone = np.tanh(1.2 * (2 * (exposure - low) / (high - low) - 1))
    return np.asarray(np.round(127.5 + 127.5 * tone), dtype=np.uint8)


def _paint_leaf(
    canvas: Floats, grain: Floats, habit: list[float], radius: float, colour: Floats, rng: Generator
) -> None:
    """Paint one leaf, a shape with its own grain that is lit from one side, and its soft contact shadow.

    The leaves of a scene share a habit: the direction of the light, the direction of their long axis and its
    deviation, their length over width, and the power of their superellipse (below 2 pointed, above 2 boxy).
    """
    light, turn, disorder, stretch, power = habit
    height, width = canvas.shape[:2]
    centre_y, centre_x = height * rng.random(), width * rng.random()
    top, bottom = max(int(centre_y - 1.3 * radius), 0), min(int(centre_y + 1.3 * radius) + 1, height)
    left, right = max(int(centre_x - 1.3 * radius), 0), min(int(centre_x + 1.3 * radius) + 1, width)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] - centre_y) / radius
    x = (np.arange(left, right, dtype=np.float32) - centre_x) / radius
    along, across = _turned(x, y, turn + disorder * rng.normal())
    distance = np.abs(along) ** power + np.abs(stretch * rng.uniform(0.7, 1.3) * across) ** power
    box = canvas[top:bottom, left:right]
    box[..., 0] -= np.clip(1.3 - distance, 0, 0.3)
    cut_y, cut_x = rng.integers(height - len(y) + 1), rng.integers(width - len(x) + 1)
    leaf = grain[cut_y : cut_y + len(y), cut_x : cut_x + len(x)] * rng.uniform(0.7, 1.7) + colour
    leaf[..., 0] += 0.45 * _turned(x, y, light)[0] - 0.25 * distance
    np.copyto(box, leaf, where=(distance < 1)[..., None])


def pink_noise(rng: Generator, shape: tuple[int, int]) -> Floats:
    """Noise with a 1/f amplitude spectrum, mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / frequency, shape)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _turned(first: Floats, second: Floats, angle: float) -> tuple[Floats, Floats]:
    """Coordinates in axes turned by an angle from the first towards the second."""
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * first + sin * second, cos * second - sin * first


def draw_sprite(rng: Generator, hue: float, spread: float) -> Sprite:
    """Draw a toy: a silhouette without rotational symmetry, a two-colour pattern, a lit rounded edge.

    Its vivid colour has a hue (radians, 0 is red) within `spread` of the one given.
    """
    y, x = np.mgrid[-1.15 : 1.15 : SPRITE_SIDE * 1j, -1.15 : 1.15 : SPRITE_SIDE * 1j]
    # Blurring and cutting rounds the corners, as on anything made to be held.
    solid = ndimage.gaussian_filter(_silhouette(rng, x, y).astype(float), 3) > 0.5
    off_centre = np.array(ndimage.center_of_mass(solid)) - (SPRITE_SIDE - 1) / 2
    solid = ndimage.shift(solid.astype(float), -off_centre, order=1) > 0.5
    height = np.sqrt(np.minimum(ndimage.distance_transform_edt(solid) / 14, 1))
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(height, 2))
    light = (1 + 8 * (0.8 * slope_y + 0.6 * slope_x)) * (1 + 0.08 * pink_noise(rng, solid.shape))
    colour = 255 * np.clip(_paintwork(rng, hue, spread, x, y) * light[..., None], 0, 1)
    layers = np.dstack([colour, np.ones_like(light)]) * solid[..., None]
    return Sprite(ndimage.gaussian_filter(layers.transpose(2, 0, 1), (0, 0.8, 0.8), truncate=2.5))


def _silhouette(rng: Generator, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """A bar, star, crescent, corner, drop or arrow."""
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
    """The hue across the colour circle from a background's mean colour, in radians."""
    red, green, blue = background.mean(axis=(0, 1))
    return math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue) + np.pi


def _paintwork(rng: Generator, hue: float, spread: float, x: Floats, y: Floats) -> Floats:
    """A pattern of a vivid colour, within `spread` of a hue, and a plain one: (S, S, 3), 0 to 1."""
    pitch = rng.uniform(9, 14)
    u, v = _turned(pitch * x, pitch * y, rng.uniform(0, np.pi))
    waves = (  # stripes, checks, dots, rings, zigzags, marble
        np.sin(u),
        np.sin(u) * np.sin(v),
        np.sin(u) + np.sin(v) - 0.4,
        np.sin(np.hypot(u - 4, v)),
        np.sin(u + 1.5 * np.sin(v)),
        np.sin(u + 3 * ndimage.gaussian_filter(pink_noise(rng, x.shape), 4)),
    )
    blend = 0.5 + 0.5 * np.tanh(6 * waves[rng.integers(len(waves))])[..., None]
    tint = np.cos(hue + rng.uniform(-spread, spread) - np.array([0, 2, 4]) * np.pi / 3)
    vivid, plain = np.clip(0.5 + 0.5 * tint, 0.05, 0.95), rng.choice((0.12, 0.9)) + 0.06 * tint
    return np.asarray(vivid * blend + plain * (1 - blend))


def _poses(class_name: str, time: Floats, sprite: Sprite, size: tuple[int, int], rng: Generator) -> Floats:
    """Where the object is at each time (seconds): float64 (T, 4) of centre y, centre x, angle, scale."""
    area = ZOOM_AREA[1] if class_name == "zoom" else rng.uniform(*REST_AREA)
    scale = np.full_like(time, math.sqrt(area * size[0] * size[1] / sprite.pixels[3].sum()))
    angle = np.full_like(time, rng.uniform(0, 2 * np.pi))
    reach = np.hypot(*sprite.outline).max() if class_name == "spin" else _reach(sprite, angle[0])
    # Half the way the centre can go up and down, left and right.
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
    """A wave of period 1 that goes from 1 to -1 and back at constant speed."""
    return np.abs(phase % 1 * 4 - 2) - 1


def _reach(sprite: Sprite, angle: float) -> Floats:
    """How far the turned sprite extends from its centre, up or down and left or right, in sprite pixels."""
    return np.array([np.abs(side).max() for side in _turned(sprite.outline[0], sprite.outline[1], -angle)])


def paste(frame: Bytes, mask: NDArray[np.bool_], sprite: Sprite, pose: Floats) -> None:
    """Blend the sprite into one frame, and mark its mask, in place; only the object's box is touched.

    pose: centre y, centre x, angle, scale. What lies outside the frame is cut off.
    """
    centre, angle, scale = pose[:2], float(pose[2]), float(pose[3])
    reach = scale * _reach(sprite, angle) + 1
    top, left = np.maximum(centre - reach, 0).astype(int)
    bottom, right = (centre + reach + 2).astype(int)
    box = frame[top:bottom, left:right]
    matrix = np.array(_turned(np.array([1, 0]), np.array([0, 1]), angle)) / scale
    offset = (sprite.pixels.shape[1] - 1) / 2 + matrix @ (np.array([top, left]) - centre)
    colour = [ndimage.affine_transform(p, matrix, offset, box.shape[:2], order=1) for p in sprite.pixels]
    cover = colour.pop()
    box[:] = np.round(np.dstack(colour) + (1 - cover[..., None]) * box)
    mask[top:bottom, left:right] = cover > 0.5

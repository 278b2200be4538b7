"""Write previews that move: originals and variants of several videos side by side, as GIF or MP4."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from s2vc.pipeline.preview.contact_sheet import BAND_GAP, GAP, LINE, MARGIN, Page, cell, cell_size, labels
from s2vc.pipeline.preview.strips import Strip, VideoStrips
from s2vc.pipeline.stages.video import write_video
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.figures import PAPER

GIF_FPS = Fraction(50)
"""A GIF has at most this frame rate, since many programs slow down delays below 20 ms."""

PALETTE_COLOURS, PALETTE_SAMPLES = 255, 6
"""A GIF has PALETTE_COLOURS colours, which are chosen from PALETTE_SAMPLES of its pictures."""


class Animation:
    """Draws the pictures of an animation: originals and variants side by side, all videos at once.

    fps: pictures per second. Videos of other frame rates keep their own pace, and those that end first stand still.
    across: the most strips in a row. pictures: how many pictures the longest video takes.
    """

    def __init__(self, video_strips: Sequence[VideoStrips], fps: Fraction, across: int):
        self.fps, self._video_strips = fps, video_strips
        self.pictures = max(math.ceil(len(b.numbers) * fps / b.subject.fps) for b in video_strips)
        height, width = cell_size(*video_strips[0].strips[0].frames.shape[1:3])
        across = min(across, max(len(b.strips) for b in video_strips))
        self._page = Page(2 * MARGIN + across * (width + GAP) - GAP)
        for pictured in video_strips:
            self._page.title(pictured.subject, f"{float(pictured.subject.fps):.4g} frames/s")
            for start in range(0, len(pictured.strips), across):
                self._row(pictured.strips[start : start + across], height, width)
            self._page.height += BAND_GAP - GAP
        self._background = self._page.image()

    def _row(self, strips: Sequence[Strip], height: int, width: int) -> None:
        page = self._page
        for k, strip in enumerate(strips):
            left = MARGIN + k * (width + GAP)
            page.slots.append((left, page.height, strip))
            for n, (text, face) in enumerate(labels(strip)):
                page.text(left, page.height + height + LINE * (n + 1), text, face, width)
        page.height += height + LINE * max(len(labels(strip)) for strip in strips) + 14

    def picture(self, number: int) -> Image.Image:
        """Draw the picture of this number, from 0, as RGB."""
        image = self._background.copy()
        slots = iter(self._page.slots)
        for pictured in self._video_strips:
            frame = min(math.floor(number * pictured.subject.fps / self.fps), len(pictured.numbers) - 1)
            for _ in pictured.strips:
                x, y, strip = next(slots)
                image.paste(cell(strip.frames[frame]), (x, y))
        return image


def write_mp4(path: Path, video_strips: Sequence[VideoStrips], across: int) -> None:
    """Write the animation of `video_strips` as an MP4, at the highest frame rate among them."""
    animation = Animation(video_strips, max(b.subject.fps for b in video_strips), across)
    width, height = animation.picture(0).size
    with files.attempt(path) as aside, write_video(aside, height, width, str(animation.fps)) as write:
        for number in range(animation.pictures):
            write(np.asarray(animation.picture(number))[None])


def write_gif(path: Path, video_strips: Sequence[VideoStrips], across: int) -> None:
    """Write the animation of `video_strips` as a GIF that loops, at the highest frame rate among them up to GIF_FPS."""
    animation = Animation(video_strips, min(max(b.subject.fps for b in video_strips), GIF_FPS), across)
    samples = np.unique(np.linspace(0, animation.pictures - 1, PALETTE_SAMPLES).astype(int))
    palette = common_palette([animation.picture(int(n)) for n in samples])
    numbers = range(animation.pictures)
    pictures = (in_palette(animation.picture(n), palette) for n in numbers)
    # Delays are whole hundredths of a second, so at 30 pictures a second every third is a little longer.
    ends = [round(100 * n / animation.fps) for n in range(animation.pictures + 1)]
    delays = [10 * (b - a) for a, b in pairwise(ends)]
    with files.attempt(path) as aside:
        next(pictures).save(aside, "GIF", save_all=True, append_images=pictures, duration=delays, loop=0, optimize=True)


def common_palette(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return one palette for a GIF, chosen from some of its pictures, so that still regions do not flicker.

    pictures: RGB, of one size. The palette's first colour is PAPER.
    """
    montage = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))
    # One of the 256 colours is left to mean "as in the picture before", which keeps files small.
    colours = montage.quantize(PALETTE_COLOURS - 1, Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*ImageColor.getrgb(PAPER), *colours])
    return palette


def in_palette(picture: Image.Image, palette: Image.Image) -> Image.Image:
    """Return a picture in the colours of the palette, with the paper exactly white."""
    indexed = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    # Pillow does not always choose the nearest colour, and a tint would show in large white areas.
    paper = (np.asarray(picture) == ImageColor.getrgb(PAPER)).all(axis=2)
    indexed.paste(0, mask=Image.fromarray(paper))
    return indexed

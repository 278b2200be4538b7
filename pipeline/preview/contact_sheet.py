"""Draw the strips of videos as a contact sheet of stills, on the kind of page that animations share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from s2vc.pipeline.preview.strips import PreviewedVideo, Strip, VideoStrips
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.figures import GREY, INK, PAPER
from s2vc.pipeline.variants import plain
from s2vc.pipeline.windows import WindowRule

MARGIN, GAP, BAND_GAP = 24, 4, 30
"""MARGIN pixels surround everything, GAP pixels separate frames, and BAND_GAP pixels one video from the next."""

PAGE_WIDTH = 440
"""A page is at least this many pixels wide; on a narrower one titles would be shortened to nothing."""

LINE = 19
"""The lines of a label are this many pixels apart."""

CELL_WIDTH = 160
"""Narrower frames are enlarged by the smallest whole factor that makes them at least this many pixels wide."""

CELL_SIDE = 480
"""Larger frames are reduced until no side is longer than this many pixels."""


def title_of(strip: Strip) -> str:
    """Return what a strip shows: `original`, `alpha 0.5`, `keep 0.2`, or its own title."""
    if strip.variant is None:
        return strip.title or "original"
    alpha, keep = strip.variant.alpha, strip.variant.keep
    return f"alpha {plain(alpha)}" if alpha is not None else f"keep {plain(keep)}"


def share_of(strip: Strip) -> str:
    """Return how much of the latents a strip keeps, such as `keeps 23%`; empty for the original."""
    percent = 100 * strip.kept
    shown = f"{percent:.0f}" if percent >= 9.95 or percent == 0 else f"{percent:.1f}"
    return f"keeps {shown}%" if strip.variant or strip.title else ""


def notes_of(strip: Strip) -> list[str]:
    """Return the alpha that a share to keep led to, and strategy and scope where they are not the default, as lines."""
    if strip.variant is None:
        return []
    variant, rule = strip.variant, strip.variant.rule
    # The threshold of tfd is for grey values, not for latents.
    alpha = f"alpha {strip.alpha:.2f}" if variant.keep is not None and variant.strategy != "tfd" else ""
    strategy = [variant.strategy] if variant.strategy != "zero" else []
    strategy += [f"{name} {n}" for name, n in (("draw", variant.draw), ("seed", variant.seed)) if n]
    scope = []
    if rule.scope == "clip":
        scope = [f"windows of {rule.clip_length}"] + [f"step {rule.frame_step}"] * (rule.frame_step > 1)
        usual = WindowRule("clip", rule.clip_length, rule.frame_step)
        scope += [f"stride {rule.window_stride}"] * (rule != usual)
    return [line for line in (alpha, " · ".join(strategy), " · ".join(scope)) if line]


@dataclass(frozen=True)
class Face:
    """Describes how a text looks. The font is DejaVu Sans, which comes with matplotlib, so that pictures look the same
    everywhere."""

    size: int
    bold: bool = False
    ink: str = INK

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        return _font(self.size, self.bold)

    def width(self, text: str) -> int:
        """Return the width of a text in pixels."""
        return math.ceil(self.font.getlength(text))

    def fit(self, text: str, width: float) -> str:
        """Return the text, or as much of its two ends around an ellipsis as fits into `width` pixels."""
        if self.width(text) <= width:
            return text
        for kept in range(len(text) - 1, 0, -1):
            shorter = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
            if self.width(shorter) <= width:
                return shorter
        return "…"


@lru_cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    # The other layout engine is not in every Pillow, and fails on texts with Unicode's paragraph separators.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


HEADING, NOTE = Face(17, bold=True), Face(15, ink=GREY)
LABEL, SHARE, SMALL = Face(15, bold=True), Face(15), Face(12, ink=GREY)


def cell_size(height: int, width: int) -> tuple[int, int]:
    """Return the height and width in pixels at which frames of this size are shown."""
    factor = min(math.ceil(CELL_WIDTH / width), CELL_SIDE / max(height, width))
    return max(round(height * factor), 1), max(round(width * factor), 1)


def cell(frame: np.ndarray) -> Image.Image:
    """Return a frame (H, W, 3) uint8 as an image of the size at which it is shown."""
    height, width = cell_size(*frame.shape[:2])
    picture = Image.fromarray(frame)
    same = picture.size == (width, height)
    return picture if same else picture.resize((width, height), Image.Resampling.LANCZOS)


class Page:
    """Lays out a picture that grows downwards, with texts and with slots, which keep room for the frames of strips."""

    def __init__(self, width: int):
        self.width, self.height = max(width, PAGE_WIDTH), MARGIN
        self.slots: list[tuple[int, int, Strip]] = []
        """Each slot has x and y of its upper left corner, and the strip whose frames go there."""
        self._texts: list[tuple[int, int, str, Face]] = []

    def text(self, x: int, baseline: int, text: str, face: Face, room: float = math.inf) -> int:
        """Add a line of text, shortened to `room` pixels; return the x at which it ends."""
        text = face.fit(text, room)
        self._texts.append((x, baseline, text, face))
        return x + face.width(text)

    def title(self, subject: PreviewedVideo, note: str) -> None:
        """Add a line with a video's id, its class and, where there is room, a note at the right."""
        baseline, room = self.height + 14, self.width - 2 * MARGIN
        if room > 6 * NOTE.width(note):
            room -= NOTE.width(note) + 24
            self.text(self.width - MARGIN - NOTE.width(note), baseline, note, NOTE)
        class_width = min(NOTE.width(subject.class_name), room * 2 // 5)
        end = self.text(MARGIN, baseline, subject.video_id, HEADING, room - class_width - 14)
        self.text(end + 14, baseline, subject.class_name, NOTE, class_width)
        self.height += 26

    def image(self) -> Image.Image:
        """Draw the page without frames; both sides are even numbers of pixels, as MP4s need them."""
        height = self.height - BAND_GAP + MARGIN
        image = Image.new("RGB", (self.width + self.width % 2, height + height % 2), PAPER)
        draw = ImageDraw.Draw(image)
        for x, baseline, text, face in self._texts:
            draw.text((x, baseline), text, face.ink, face.font, "ls")
        return image


def contact_sheet(video_strips: Sequence[VideoStrips]) -> Image.Image:
    """Draw, for each video, a row for the original and one for each variant, with a column for each frame."""
    height, width = cell_size(*video_strips[0].strips[0].frames.shape[1:3])
    columns = max(len(pictured.numbers) for pictured in video_strips)
    gutter = 18 + max(face.width(text) for b in video_strips for s in b.strips for text, face in labels(s))
    page = Page(2 * MARGIN + gutter + columns * (width + GAP) - GAP)
    left = MARGIN + gutter
    for pictured in video_strips:
        page.title(pictured.subject, f"{len(pictured.numbers)} of {pictured.subject.frames} frames")
        for k, number in enumerate(pictured.numbers):
            page.text(left + k * (width + GAP), page.height + 10, f"frame {number}", SMALL)
        page.height += 16
        for strip in pictured.strips:
            lines = labels(strip)
            for k, (text, face) in enumerate(lines):
                page.text(MARGIN, page.height + (height + LINE * (2 * k + 1 - len(lines))) // 2 + 5, text, face)
            page.slots.append((left, page.height, strip))
            page.height += max(height, LINE * len(lines)) + GAP
        page.height += BAND_GAP - GAP
    image = page.image()
    for x, y, strip in page.slots:
        for k, frame in enumerate(strip.frames):
            image.paste(cell(frame), (x + k * (width + GAP), y))
    return image


def labels(strip: Strip) -> list[tuple[str, Face]]:
    """Return the lines of a strip's label, each with the face it is written in."""
    lines = [(title_of(strip), LABEL), (share_of(strip), SHARE), *((note, SMALL) for note in notes_of(strip))]
    return [line for line in lines if line[0]]


def write_png(path: Path, video_strips: Sequence[VideoStrips]) -> None:
    """Write the contact sheet of these videos as a PNG."""
    with files.attempt(path) as aside:
        contact_sheet(video_strips).save(aside, "PNG")

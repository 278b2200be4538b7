"""The controlled set in one picture: twelve motions as strips of frames, twelve scenes as instances side by side."""

import numpy as np
from PIL import Image

from s2vc.manifests.controlled import TRAIN, ControlledVideo, draw_video, plan_part
from s2vc.manifests.motions import MOTIONS
from s2vc.manifests.scenes import SCENES
from s2vc.pipeline.demo.controlled_set import SampleFolder, SampleSettings
from s2vc.pipeline.preview.contact_sheet import BAND_GAP, GAP, HEADING, LABEL, MARGIN, Page
from s2vc.pipeline.storage import files

STILLS, APART = 6, 3
"""Frames of a motion, and how far they lie apart."""

INSTANCES = 4
"""Backgrounds of a scene."""

CELL = 128
"""Pixels of a cell's longer side."""

GUTTER = 80
"""Pixels for the names at the left of each half."""


def write_sheet(folder: SampleFolder, settings: SampleSettings) -> None:
    """Draw the sheet of a set, as a PNG: frames from 0 on, and first frames of as many other videos."""
    scale = CELL / max(settings.size)
    height, width = (round(side * scale) for side in settings.size)
    half = GUTTER + STILLS * (width + GAP)
    page = Page(2 * MARGIN + half + GUTTER + INSTANCES * (width + GAP))
    top = page.height
    page.text(MARGIN, top + 14, f"12 motions, {APART} frames apart", HEADING)
    page.text(MARGIN + half, top + 14, "12 scenes, each the partner of the motion at its left", HEADING)
    cells = []
    movers = plan_part(TRAIN, 1, settings.shift, settings.seed)
    for number, (motion, scene) in enumerate(zip(MOTIONS, SCENES, strict=True)):
        y = top + 30 + number * (height + GAP)
        page.text(MARGIN, y + height // 2, motion, LABEL)
        page.text(MARGIN + half, y + height // 2, scene, LABEL)
        cells += [(MARGIN + GUTTER + k * (width + GAP), y, f) for k, f in enumerate(_stills(movers[number], settings))]
        left = MARGIN + half + GUTTER
        cells += [(left + k * (width + GAP), y, f) for k, f in enumerate(_instances(scene, settings))]
    page.height = top + 30 + len(MOTIONS) * (height + GAP) + BAND_GAP
    image = page.image()
    for x, y, frame in cells:
        image.paste(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS), (x, y))
    with files.attempt(folder.sheet) as aside:
        image.save(aside, "PNG")


def _stills(video: ControlledVideo, settings: SampleSettings) -> np.ndarray:
    """Some of a video's frames, as far as it has them: (n, H, W, 3) uint8."""
    return draw_video(video, min(settings.frames, STILLS * APART), settings.size)[0][::APART]


def _instances(scene: str, settings: SampleSettings) -> list[np.ndarray]:
    """First frames (H, W, 3) uint8 of training videos, were they of this scene."""
    numbers = [len(MOTIONS) * (1 + k) + 5 * k for k in range(INSTANCES)]
    videos = [ControlledVideo(TRAIN, n, MOTIONS[n % len(MOTIONS)], scene, settings.seed) for n in numbers]
    return [draw_video(v, 1, settings.size)[0][0] for v in videos]

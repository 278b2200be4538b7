"""Draw the controlled set in one picture: twelve motions as strips of frames, and backgrounds of twelve scenes."""

import numpy as np
from PIL import Image

from s2vc.manifests.choices import TRAIN
from s2vc.manifests.controlled import ControlledVideo, draw_video, plan_part
from s2vc.manifests.motions import MOTIONS
from s2vc.manifests.scenes import SCENES
from s2vc.pipeline.demo.controlled_set import SampleFolder, SampleSettings
from s2vc.pipeline.preview.contact_sheet import BAND_GAP, GAP, HEADING, LABEL, MARGIN, Page
from s2vc.pipeline.storage import files

STILLS, APART = 6, 3
"""Each motion is shown by STILLS frames of a video, which lie APART frames apart."""

INSTANCES = 4
"""Each scene is shown by this many backgrounds."""

CELL = 128
"""The longer side of a frame is shown this many pixels long."""

GUTTER = 80
"""The names at the left of each half get this many pixels."""


def write_sheet(folder: SampleFolder, settings: SampleSettings) -> None:
    """Write the contact sheet of a set as a PNG.

    For each motion it shows frames of one video, from frame 0 on, and for its scene the first frames of INSTANCES
    other videos.
    """
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
    with files.attempt(folder.contact_sheet) as aside:
        image.save(aside, "PNG")


def _stills(video: ControlledVideo, settings: SampleSettings) -> np.ndarray:
    """Return up to STILLS frames of a video, APART frames apart, as far as it has them: (n, H, W, 3) uint8."""
    return draw_video(video, min(settings.frames, STILLS * APART), settings.size)[0][::APART]


def _instances(scene: str, settings: SampleSettings) -> list[np.ndarray]:
    """Draw the first frames (H, W, 3) uint8 of INSTANCES training videos as if they had this scene."""
    numbers = [len(MOTIONS) * (1 + k) + 5 * k for k in range(INSTANCES)]
    videos = [ControlledVideo(TRAIN, n, MOTIONS[n % len(MOTIONS)], scene, settings.seed) for n in numbers]
    return [draw_video(v, 1, settings.size)[0][0] for v in videos]

"""The figure of `s2vc-eval saliency`: frames, energy over them, and optical flow, still or animated (Fig. 7)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from s2vc.eval.analyses.saliency_maps import VideoSaliency
from s2vc.eval.videos import short_id
from s2vc.pipeline.preview.animation import common_palette, in_palette
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.figures import save_figure

COLUMNS = 6
"""So many videos stand side by side."""

COLOURS = "jet"
"""Blue is low and red is high, as in the paper."""

OVERLAY_OPACITY = 0.55
"""A heat map's colour covers so much of the frame."""

FRAME_MILLISECONDS = 120
"""A picture of an animation is shown so long, at a third of the pace of life: a window lasts half a second."""


class SaliencyFigure:
    """Draws a column for each video: the frame, and over it the energy of its window and the speed by optical flow."""

    def __init__(self, saliencies: Sequence[VideoSaliency], notes: Sequence[str], title: str):
        """Draw the figure. notes: a line below each video."""
        from matplotlib.figure import Figure

        self._saliencies = saliencies
        across, blocks = min(COLUMNS, len(saliencies)), -(-len(saliencies) // COLUMNS)
        self._figure = Figure(figsize=(1.0 + 2.0 * max(across, 2), 0.6 + 6.9 * blocks), dpi=100, layout="constrained")
        self._figure.suptitle(title, fontsize=12)
        grid = self._figure.subplots(3 * blocks, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        self._cells = []
        for number, (saliency, note) in enumerate(zip(saliencies, notes, strict=True)):
            block, column = divmod(number, across)
            self._cells.append(_draw_column(grid[3 * block : 3 * block + 3, column], saliency, note, named=column == 0))

    def _show(self, frame: int) -> None:
        """Show frame `frame` of each window."""
        for saliency, cells in zip(self._saliencies, self._cells, strict=True):
            for cell, picture in zip(cells, _pictures(saliency, frame), strict=True):
                cell.set_data(picture)

    def write_png(self, path: Path) -> None:
        """Write the middle frame of each window."""
        self._show(len(self._saliencies[0].clip) // 2)
        save_figure(self._figure, path, dpi=100)

    def write_gif(self, path: Path) -> None:
        """Write all frames of each window, in a loop."""
        pictures = list(self._animated())
        palette = common_palette(pictures[:: max(1, len(pictures) // 3)])
        indexed = [in_palette(picture, palette) for picture in pictures]
        with files.attempt(path) as aside:
            indexed[0].save(aside, "GIF", save_all=True, append_images=indexed[1:], duration=FRAME_MILLISECONDS, loop=0)

    def _animated(self) -> Iterator[Image.Image]:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(self._figure)
        for frame in range(len(self._saliencies[0].clip)):
            self._show(frame)
            canvas.draw()
            yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _draw_column(axes: Any, saliency: VideoSaliency, note: str, named: bool) -> list[Any]:
    """Draw the three pictures of a video below its id. named: what they are stands at their left."""
    cells = [ax.imshow(picture) for ax, picture in zip(axes, _pictures(saliency, 0), strict=True)]
    axes[0].set_title(short_id(saliency.video_id), fontsize=8)
    note = f"{note}\nred: {_fastest(saliency):.2g} pixels a frame"
    axes[2].text(0.5, -0.04, note, transform=axes[2].transAxes, ha="center", va="top", fontsize=8)
    if named:
        for ax, name in zip(axes, ("frame", "energy", "optical flow"), strict=True):
            ax.text(-0.06, 0.5, name, transform=ax.transAxes, rotation=90, ha="right", va="center", fontsize=10)
    return cells


def _pictures(saliency: VideoSaliency, frame: int) -> list[np.ndarray]:
    """Draw a frame of the middle window, with energy and with speed over it: (size, size, 3) uint8 each.

    Energy goes from its least (blue) to its greatest value in the window (red), speed from 0 to that of the fastest.
    """
    shown, size = saliency.clip[frame], saliency.clip.shape[1]
    heat = torch.from_numpy(saliency.energy[saliency.middle])[None, None]
    times = len(saliency.clip)
    large = functional.interpolate(heat, (times, size, size), mode="trilinear", align_corners=False)[0, 0].numpy()
    speed = saliency.clip_speed[min(frame, len(saliency.clip_speed) - 1)]
    return [
        shown,
        _overlay(shown, large[frame], float(large.min()), float(large.max())),
        _overlay(shown, speed, 0.0, _fastest(saliency)),
    ]


def _fastest(saliency: VideoSaliency) -> float:
    """Find the speed that is drawn red: the 99.5th percentile over the window, since flow has outliers."""
    return float(np.percentile(saliency.clip_speed, 99.5))


def _overlay(frame: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Draw values (H, W) as colours over the grey values of a frame: (H, W, 3) uint8."""
    from matplotlib import colormaps

    level = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    colours = colormaps[COLOURS](level)[..., :3] * 255
    grey = frame.mean(axis=2, keepdims=True)
    return (OVERLAY_OPACITY * colours + (1 - OVERLAY_OPACITY) * grey).round().astype(np.uint8)

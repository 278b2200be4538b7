"""The figure of `s2vc-eval saliency`: frames, energy over them, and optical flow, still or animated (Fig. 7)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from s2vc.eval.analyses.saliency_maps import VideoSaliency
from s2vc.eval.videos import short_id
from s2vc.pipeline.console.progress import number
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


@dataclass(frozen=True)
class Layer:
    """Holds what is drawn over the frames of a row of pictures. values: of each video, (T, size, size) float32. low,
    high: what is blue and what is red, the same for all videos, so that they can be compared."""

    name: str
    values: list[np.ndarray]
    low: float
    high: float
    unit: str = ""

    @property
    def scale(self) -> str:
        return f"{self.name}: {number(self.low)} (blue) to {number(self.high)}{self.unit} (red)"

    def picture(self, frame: np.ndarray, video: int, time: int) -> np.ndarray:
        """Draw the values of a video's frame over it: (size, size, 3) uint8."""
        values = self.values[video]
        return _overlay(frame, values[min(time, len(values) - 1)], self.low, self.high)


def saliency_layers(saliencies: Sequence[VideoSaliency]) -> list[Layer]:
    """Scale energy, class activation where there is one, and speed over all videos.

    Maps go from their least to their greatest value, speed from 0 to its 99.5th percentile, since flow has outliers.
    """
    found = []
    for name, attribute in (("energy", "energy"), ("class activation", "cam")):
        if all(getattr(saliency, attribute) is not None for saliency in saliencies):
            values = [_enlarged(saliency, getattr(saliency, attribute)) for saliency in saliencies]
            found.append(Layer(name, values, float(min(map(np.min, values))), float(max(map(np.max, values)))))
    speeds = [saliency.clip_speed for saliency in saliencies]
    fastest = float(np.percentile(np.concatenate([speed.ravel() for speed in speeds]), 99.5))
    return [*found, Layer("optical flow", speeds, 0.0, fastest, " pixels a frame")]


def _enlarged(saliency: VideoSaliency, maps: np.ndarray) -> np.ndarray:
    """Enlarge the map of the middle window to its frames: (T, size, size) float32."""
    times, size = saliency.clip.shape[:2]
    heat = torch.from_numpy(maps[saliency.middle])[None, None]
    return functional.interpolate(heat, (times, size, size), mode="trilinear", align_corners=False)[0, 0].numpy()


class SaliencyFigure:
    """Draws a column for each video: the frame, and over it the energy of its window, the activation of its class where
    there is one, and the speed by optical flow."""

    def __init__(self, saliencies: Sequence[VideoSaliency], notes: Sequence[str], title: str):
        """Draw the figure. notes: a line below each video."""
        from matplotlib.figure import Figure

        self._saliencies, self._layers = saliencies, saliency_layers(saliencies)
        high = 1 + len(self._layers)
        across, blocks = min(COLUMNS, len(saliencies)), -(-len(saliencies) // COLUMNS)
        size = (1.0 + 2.0 * max(across, 2), 1.2 + (1.2 + 2.1 * high) * blocks)
        self._figure = Figure(figsize=size, dpi=100, layout="constrained")
        scales = "\n".join(layer.scale for layer in self._layers)
        self._figure.suptitle(f"{title}\n{scales}", fontsize=9)
        grid = self._figure.subplots(high * blocks, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        self._cells = []
        for video, note in enumerate(notes):
            block, column = divmod(video, across)
            axes = grid[high * block : high * (block + 1), column]
            self._cells.append(self._draw_column(axes, video, note, named=column == 0))

    def _draw_column(self, axes: Any, video: int, note: str, named: bool) -> list[Any]:
        """Draw the pictures of a video below its id. named: what they are stands at their left."""
        cells = [ax.imshow(picture) for ax, picture in zip(axes, self._pictures(video, 0), strict=True)]
        axes[0].set_title(short_id(self._saliencies[video].video_id), fontsize=8)
        # A label, and not a text, has room made for it; so the axes of the note are emptied, and not switched off.
        axes[-1].set_axis_on()
        axes[-1].set(xticks=[], yticks=[])
        axes[-1].spines[:].set_visible(False)
        axes[-1].set_xlabel(note, fontsize=7)
        if named:
            for ax, name in zip(axes, ("frame", *(layer.name for layer in self._layers)), strict=True):
                ax.text(-0.06, 0.5, name, transform=ax.transAxes, rotation=90, ha="right", va="center", fontsize=10)
        return cells

    def _pictures(self, video: int, time: int) -> list[np.ndarray]:
        """Draw a frame of a video's middle window, as it is and with each layer over it: (size, size, 3) uint8 each."""
        frame = self._saliencies[video].clip[time]
        return [frame, *(layer.picture(frame, video, time) for layer in self._layers)]

    def _show(self, time: int) -> None:
        """Show frame `time` of each window."""
        for video, cells in enumerate(self._cells):
            for cell, picture in zip(cells, self._pictures(video, time), strict=True):
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


def _overlay(frame: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Draw values (H, W) as colours over the grey values of a frame: (H, W, 3) uint8."""
    from matplotlib import colormaps

    level = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    colours = colormaps[COLOURS](level)[..., :3] * 255
    grey = frame.mean(axis=2, keepdims=True)
    return (OVERLAY_OPACITY * colours + (1 - OVERLAY_OPACITY) * grey).round().astype(np.uint8)

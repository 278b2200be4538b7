"""What a notebook shows of a cache: a clip beside what variants leave of it, as a picture and as HTML."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vc.pipeline.cache.frames import encode_jpegs

GAP = 4
"""So many white pixels part the frames of a picture."""

QUALITY = 90


@dataclass(frozen=True)
class ClipPicture:
    """Shows frames of a video, and what variants leave of them: rows of frames, which a notebook draws by itself.

    video_id: of the video. numbers: of its frames that are shown, (n,). rows: frames (n, H, W, 3) uint8 by what they
    show, such as `original` and `alpha0.5-zero-video`.
    """

    video_id: str
    numbers: Sequence[int]
    rows: Mapping[str, np.ndarray]

    def __repr__(self) -> str:
        return f"ClipPicture({self.video_id!r}: frames {', '.join(map(str, self.numbers))} of {', '.join(self.rows)})"

    @property
    def pixels(self) -> np.ndarray:
        """Return the rows below each other, the frames beside each other: (H', W', 3) uint8."""
        return np.concatenate([_joined(list(row), axis=1) for row in self._padded()], axis=0)

    def save(self, path: str | Path) -> None:
        """Write the picture as a JPEG."""
        Path(path).write_bytes(_jpeg(self.pixels))

    def _repr_html_(self) -> str:
        lines = [
            f"<tr><td></td><td>{html.escape(self.video_id)}, frames {self.numbers[0]} to {self.numbers[-1]}</td></tr>"
        ]
        for name, row in self.rows.items():
            picture = base64.b64encode(_jpeg(_joined(list(row), axis=1))).decode()
            lines.append(f'<tr><td>{html.escape(name)}</td><td><img src="data:image/jpeg;base64,{picture}"></td></tr>')
        return f"<table>{''.join(lines)}</table>"

    def _padded(self) -> list[np.ndarray]:
        """Add a gap below each row but the last."""
        *first, last = self.rows.values()
        return [*(np.pad(row, ((0, 0), (0, GAP), (0, 0), (0, 0)), constant_values=255) for row in first), last]


def _joined(frames: list[np.ndarray], axis: int) -> np.ndarray:
    """Join frames (H, W, 3) along an axis, with gaps between them."""
    widths = [(0, GAP if other == axis else 0) for other in range(3)]
    *first, last = frames
    return np.concatenate([*(np.pad(frame, widths, constant_values=255) for frame in first), last], axis=axis)


def _jpeg(pixels: np.ndarray) -> bytes:
    return encode_jpegs(pixels[None], QUALITY)[0]


def table_html(title: str, facts: Mapping[str, object]) -> str:
    """Write facts as a table of HTML."""
    lines = [f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(fact))}</td></tr>" for name, fact in facts.items()]
    return f"<table><caption>{html.escape(title)}</caption>{''.join(lines)}</table>"

"""Over which frames the STD of a latent is taken: the windows of a video."""

from dataclasses import dataclass

import numpy as np

HISTOGRAM_WINDOW = 16
"""Frames of the windows whose STDs every cache counts in `std_clip_histogram`."""

MAX_CLIP = 4096
"""Frames of a window of scope clip at most: one is held in memory whole (200 MB of latents)."""


@dataclass(frozen=True)
class WindowRule:
    """How a video is cut into windows; each has its own STD and its own set of static latents.

    scope `video`: one window, the whole video. scope `clip` (Algorithm 1 to the letter): windows of `clip_length`
    frames, `frame_step` apart, one starting every `window_stride` frames (None: no overlap), and one more that ends
    with the video where frames remain. A video shorter than a window gives one, padded on the left by its first frame.
    """

    scope: str = "video"
    clip_length: int | None = None
    frame_step: int = 1
    window_stride: int | None = None

    def __post_init__(self) -> None:
        if self.scope not in ("video", "clip"):
            raise ValueError(f"scope is video or clip, not {self.scope!r}")
        if self.scope == "video":
            if self.clip_length is not None or self.window_stride is not None or self.frame_step != 1:
                raise ValueError("clip length, frame step and window stride belong to scope clip")
        elif not self.clip_length or not 2 <= self.clip_length <= MAX_CLIP:
            raise ValueError(f"scope clip needs a clip length of 2 to {MAX_CLIP} frames")
        if self.frame_step < 1 or (self.window_stride is not None and self.window_stride < 1):
            raise ValueError("frame step and window stride are 1 or more")

        if self.scope == "clip" and self.window_stride is None:
            # Written out, so that both spellings of the default are one rule.
            object.__setattr__(self, "window_stride", (self.clip_length or 0) * self.frame_step)

    @property
    def span(self) -> int:
        """Frames of the video from the first of a window to its last, both counted; of scope clip."""
        return clip_span(self.clip_length or 0, self.frame_step)

    def windows(self, frames: int) -> list[np.ndarray]:
        """Frame numbers of each window of a video of `frames` frames: (L,) int64 each, in order; none for no frames.

        >>> [w.tolist() for w in WindowRule("clip", clip_length=4).windows(6)]
        [[0, 1, 2, 3], [2, 3, 4, 5]]
        >>> [w.tolist() for w in WindowRule("clip", clip_length=4).windows(3)]
        [[0, 0, 1, 2]]
        """
        if frames == 0:
            return []
        if self.scope == "video":
            return [np.arange(frames)]
        assert self.clip_length is not None and self.window_stride is not None
        span = self.span
        if frames < span:
            taken = np.arange(0, frames, self.frame_step)
            return [np.pad(taken, (self.clip_length - len(taken), 0), constant_values=0)]
        starts = list(range(0, frames - span + 1, self.window_stride))
        if starts[-1] + span < frames:
            starts.append(frames - span)
        return [start + self.frame_step * np.arange(self.clip_length) for start in starts]

    def count(self, frames: int) -> int:
        """How many windows `windows(frames)` gives, without making them; of scope clip.

        >>> WindowRule("clip", clip_length=4).count(6)
        2
        """
        if frames <= self.span:
            return int(frames > 0)
        return -(-(frames - self.span) // (self.window_stride or 1)) + 1


def clip_span(clip_length: int, frame_step: int) -> int:
    """Frames of a video from the first of a clip to its last, both counted.

    >>> clip_span(8, 2)
    15
    """
    return (clip_length - 1) * frame_step + 1

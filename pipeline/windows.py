"""A video is cut into windows; the STD of a latent is taken over the frames of one window."""

from dataclasses import dataclass

import numpy as np

HISTOGRAM_WINDOW = 16
"""Every cache counts in `std_clip_histogram` the STDs of windows of this many frames."""

MAX_CLIP = 4096
"""A window of scope clip has at most this many frames, since all of it is held in memory (200 MB of latents)."""


@dataclass(frozen=True)
class WindowRule:
    """A rule says how a video is cut into windows. Each window has its own STD and its own set of static latents.

    Scope `video` gives one window, the complete video. Scope `clip` (Algorithm 1 to the letter) gives windows of
    `clip_length` frames that are `frame_step` apart. A window starts every `window_stride` frames (None: windows do not
    overlap), and one more window ends with the video where frames remain. A video shorter than a window gives one
    window, padded on the left with the first frame.
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
            # The default is written out, so that both ways to ask for it give equal rules.
            object.__setattr__(self, "window_stride", (self.clip_length or 0) * self.frame_step)

    @property
    def span(self) -> int:
        """A window of scope clip spans this many frames of the video, from its first to its last, both counted."""
        return clip_span(self.clip_length or 0, self.frame_step)

    def windows(self, frames: int) -> list[np.ndarray]:
        """Return the frame numbers of each window of a video of `frames` frames, in order: (L,) int64 each.

        A video without frames has no windows.

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
        """Return how many windows `windows(frames)` gives, without making them; this is for scope clip only.

        >>> WindowRule("clip", clip_length=4).count(6)
        2
        """
        if frames <= self.span:
            return int(frames > 0)
        return -(-(frames - self.span) // (self.window_stride or 1)) + 1


def clip_span(clip_length: int, frame_step: int) -> int:
    """Return the number of frames of a video from the first of a clip to its last, both counted.

    >>> clip_span(8, 2)
    15
    """
    return (clip_length - 1) * frame_step + 1

"""Parts of clips, cut out of what is stored in 8 bits before pixels are made of it.

A batch of 128 clips of 32 whole frames of 256x340 would take 4.3 GB in float32, and a motion-preserved one twice that
while its corrections are added.
"""

import torch
from torch import Tensor

from s2vc.pipeline.static_cues import upsampled_places
from s2vc.training.clips import MotionClip, as_video


class ClipCuts:
    """Cuts boxes out of a batch of clips: V or V_p as it is stored, or a video.

    clips: stored frames (N, T, H, W, 3) uint8, a batch of motion-preserved clips, or a video (N, 3, T, H, W) of
    floating point. size: N, T, H and W. dtype, device: of what is cut.
    """

    def __init__(self, clips: Tensor | MotionClip):
        frames = clips.frames if isinstance(clips, MotionClip) else clips
        self._frames, self.device = frames, frames.device
        self._video = frames.is_floating_point()
        self.dtype = frames.dtype if self._video else torch.float32
        n, t, height, width = (frames.movedim(1, -1) if self._video else frames).shape[:4]
        self.size = n, t, height, width
        self._motion = clips if isinstance(clips, MotionClip) else None
        if self._motion:
            self._rows, self._columns = (upsampled_places(length, self.device) for length in (height, width))

    def cut(self, number: int, rows: slice, columns: slice) -> Tensor:
        """Return a box of clip `number`, (3, T, h, w), in [0, 1] but for what V_p or the video has beyond."""
        if self._video:
            return self._frames[number, ..., rows, columns]
        pixels = as_video(self._frames[number, None, :, rows, columns])[0]
        if not self._motion:
            return pixels
        # Pixels that a correction is upsampled to are taken from it while it has 8 bits.
        small = self._motion.correction[number]  # T x 64 x 64 x 3
        change = small.index_select(1, self._rows[rows]).index_select(2, self._columns[columns])
        return pixels.addcmul_(change.permute(3, 0, 1, 2).float(), self._motion.scale[number])

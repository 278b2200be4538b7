"""From a loader's batch to what the encoders see: pixels, crops, colours, and the flow where it runs in the loop."""

import torch
from torch import Tensor, nn

from s2vc.pipeline.flow import Flow
from s2vc.pipeline.static_cues import motion_preserved
from s2vc.training.augment import (
    LABEL_JITTER_SHARE,
    ClipJitter,
    DPCColour,
    DPCCrop,
    Normalise,
    RandomColour,
    RandomCrop,
)
from s2vc.training.clips import MotionClip
from s2vc.training.settings import TrainingSettings


class PairViews(nn.Module):
    """Makes the query and the key of each pair as the encoders take them, (N, 3, T, size, size) float32, normalised.

    flow: for s2vc-online, which suppresses static cues in the cropped and coloured key clip, as published. Elsewhere
    the key is V_p as rendered, cropped and coloured afterwards; since many values of V_p lie outside [0, 1], its
    colours are changed without clamping. Random numbers are torch's global ones.
    """

    def __init__(self, settings: TrainingSettings, flow: Flow | None = None):
        super().__init__()
        self._query_crop = RandomCrop(settings.size, settings.query_scale)
        self._key_crop = RandomCrop(settings.size, settings.key_scale)
        per_frame = settings.jitter == "per-frame"
        light = settings.method == "supervised" and settings.augment == "light"
        self._colour = ClipJitter(LABEL_JITTER_SHARE, per_frame) if light else RandomColour(per_frame)
        self._key_colour = RandomColour(per_frame, clamp=settings.method != "s2vc")
        self._colour_key = settings.key_augment == "full"
        self._normalise = Normalise(settings.mean, settings.std)
        self._flow, self._alphas = flow, settings.alpha

    @torch.no_grad()
    def query(self, frames: Tensor) -> Tensor:
        """Turn stored frames (N, T, H, W, 3) uint8 into query clips."""
        return self._finish(self._colour(self._query_crop(frames)))

    @torch.no_grad()
    def key(self, clips: Tensor | MotionClip) -> Tensor:
        """Turn stored frames (N, T, H, W, 3) uint8, or motion-preserved clips, into key clips."""
        video = self._key_crop(clips)
        if self._colour_key:
            video = self._key_colour(video)
        if self._flow is not None:
            drawn = torch.randint(len(self._alphas), (len(video),)).tolist()  # One alpha for each sample.
            video, _ = motion_preserved(video, self._flow, [self._alphas[number] for number in drawn])
        return self._finish(video)

    def _finish(self, video: Tensor) -> Tensor:
        return self._normalise(video).contiguous(memory_format=torch.channels_last_3d)


class DPCViews(nn.Module):
    """Makes clips as dense predictive coding takes them, (N, 3, T, size, size) float32, normalised: cropped and flipped
    as a whole, grey and jittered frame by frame. Jittered frames are clamped to [0, 1], but not so in dpc-s2vc, whose
    motion-preserved clips reach beyond. Random numbers are torch's global ones."""

    def __init__(self, settings: TrainingSettings):
        super().__init__()
        colour = DPCColour(clamp=settings.method == "dpc")
        self._change = nn.Sequential(DPCCrop(settings.size), colour, Normalise(settings.mean, settings.std))

    @torch.no_grad()
    def forward(self, batch: MotionClip | list[Tensor]) -> Tensor:
        """Take a batch of SingleClips, of either kind."""
        clips = batch if isinstance(batch, MotionClip) else batch[0]
        return self._change(clips).contiguous(memory_format=torch.channels_last_3d)

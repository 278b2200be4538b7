"""Picture a comparison of flows: a few clips, and what each flow leaves of them."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch

from s2vc.pipeline.cache.reader import add_change_to_frames
from s2vc.pipeline.flow import Flow
from s2vc.pipeline.flow_fitting.compare import LENGTHS, POINTS, as_frames, static_latents, suppressed, window_stds
from s2vc.pipeline.flow_fitting.compare_clips import ComparisonClip
from s2vc.pipeline.preview.pictures import evenly_spaced
from s2vc.pipeline.preview.strips import PreviewedVideo, Strip, VideoStrips
from s2vc.pipeline.stages.encode_shard import as_images

SHOWN_CLIPS = 3
"""This many clips of the cache and as many of the sample are shown."""

COLUMNS = 6


def comparison_strips(clips: Sequence[ComparisonClip], flows: Mapping[str, Flow]) -> list[VideoStrips]:
    """Return the strips of a few clips: the original, and V_p by each flow at the first of POINTS, in windows of 16
    frames."""
    real = [clip for clip in clips if clip.mover is None]
    sample = [clip for clip in clips if clip.mover is not None]
    video_strips = []
    for clips in (real, sample):
        for clip in [clips[n] for n in evenly_spaced(len(clips), SHOWN_CLIPS)]:
            numbers = evenly_spaced(len(clip.frames), COLUMNS)
            subject = PreviewedVideo(clip.name, clip.class_name, 0, 0, 0, len(clip.frames), Fraction(25))
            strips = [_strip(name, flow, clip, numbers) for name, flow in flows.items()]
            video_strips.append(VideoStrips(subject, numbers, [Strip(clip.frames[numbers]), *strips]))
    return video_strips


def _strip(name: str, flow: Flow, clip: ComparisonClip, numbers: np.ndarray) -> Strip:
    point = next(iter(POINTS))
    z = flow.encode(as_images(torch.from_numpy(clip.small)))[0].cpu()
    x_p = as_frames(flow.decode(suppressed(z, point)[numbers]))
    kept = np.mean([1 - float(static_latents(s, point).float().mean()) for s in window_stds(z, LENGTHS[0])])
    changed = add_change_to_frames(clip.frames[numbers], x_p - clip.small[numbers] / np.float32(255))
    return Strip(changed, title=name, kept=float(kept))

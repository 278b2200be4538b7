"""The transform: any leading dimensions, the STD taken over each clip alone, and draws that follow torch's seed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s2vc.pipeline.flow import load_flow
from s2vc.pipeline.static_cues import small_frames, upsample
from s2vc.pipeline.transform import S2VC


def moving_clips(*leading: int, frames: int = 6, height: int = 48, width: int = 64) -> Tensor:
    """Textures with a bright square that moves: (*leading, 3, frames, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(*leading, 3, 1, height, width, generator=generator).expand(*leading, 3, frames, height, width)
    clips = clips.clone() * 0.5
    for frame in range(frames):
        clips[..., frame, 8:24, 4 + 6 * frame : 20 + 6 * frame] = 1.0
    return clips


def by_hand(clip: Tensor, alpha: float) -> Tensor:
    """Algorithm 1 for one clip (3, T, H, W), in plain steps: encode, zero, decode, add the change."""
    flow = load_flow("default")
    frames = clip.transpose(0, 1)
    small = small_frames(frames)
    latents = flow.encode(small)[0]
    kept = latents * (latents.double().std(dim=0, correction=1) >= alpha)
    change = flow.decode(kept).view_as(small) - small
    return clip + upsample(change, *clip.shape[-2:]).transpose(0, 1)


@pytest.mark.parametrize("leading", [(), (2,), (2, 1)])
def test_each_clip_becomes_what_algorithm_1_says(leading: tuple[int, ...]) -> None:
    clips = moving_clips(*leading)
    preserved = S2VC(alpha=0.5)(clips)
    assert preserved.shape == clips.shape
    for clip, one in zip(clips.reshape(-1, *clips.shape[-4:]), preserved.reshape(-1, *clips.shape[-4:]), strict=True):
        assert (one - by_hand(clip, 0.5)).abs().mean() < 1e-3
    assert (preserved - clips).abs().mean() > 0.05


def test_it_stands_in_a_sequence_of_transforms_and_is_not_trained() -> None:
    transforms = nn.Sequential(S2VC(0.3), nn.AvgPool3d((1, 2, 2)))
    assert transforms(moving_clips(1)).shape == (1, 3, 6, 24, 32)
    assert not any(parameter.requires_grad for parameter in transforms.parameters())


def test_random_strategies_follow_torchs_seed() -> None:
    transform, clips = S2VC(0.5, "noise"), moving_clips(1)
    torch.manual_seed(3)
    first = transform(clips)
    second = transform(clips)
    torch.manual_seed(3)
    assert torch.equal(transform(clips), first)
    assert not torch.equal(second, first)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="strategy is one of zero"):
        S2VC(strategy="blur")
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, T, H, W\)"):
        S2VC()(torch.rand(2, 16, 3, 32, 32))


def test_its_text_says_how_to_make_it() -> None:
    assert repr(S2VC(0.25, "tfd")) == "S2VC(alpha=0.25, strategy='tfd', flow='default')"


@pytest.mark.parametrize(("alpha", "error"), [(-1, ValueError), (float("nan"), ValueError), ("x", TypeError)])
def test_an_alpha_that_is_none_is_refused(alpha: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="alpha is a number"):
        S2VC(alpha)


def test_pixels_of_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got torch.uint8: divide uint8 by 255"):
        S2VC()(torch.zeros(3, 4, 64, 64, dtype=torch.uint8))


def test_an_autocast_around_the_transform_changes_nothing() -> None:
    clips = moving_clips(2)
    expected = S2VC(0.5)(clips)
    with torch.autocast("cpu", torch.bfloat16):
        preserved = S2VC(0.5)(clips)
    assert preserved.dtype == torch.float32 and torch.equal(preserved, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_clips_in_half_precision_are_rounded_once_at_the_end(dtype: torch.dtype) -> None:
    clips = moving_clips(1).to(dtype)
    preserved = S2VC(0.5)(clips)
    assert preserved.dtype == dtype and torch.equal(preserved, S2VC(0.5)(clips.float()).to(dtype))

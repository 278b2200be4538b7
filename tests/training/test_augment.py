"""Augmentation: one draw per clip, its own for each clip, and nothing that it should not touch."""

import numpy as np
import torch
from torch import Tensor, nn

from s2vc.training.augment import DPCColour, DPCCrop, Normalise, RandomColour, RandomCrop


def still_clips(n: int, frames: int = 5, height: int = 40, width: int = 56) -> Tensor:
    """Clips in which nothing moves, each with its own texture: (n, 3, frames, height, width)."""
    images = torch.rand(n, 3, 1, height, width, generator=torch.Generator().manual_seed(0))
    return images.expand(-1, -1, frames, -1, -1).clone()


def moves(clips: Tensor) -> Tensor:
    """Whether frames differ within each clip, (n,) bool."""
    return (clips - clips[:, :, :1]).abs().amax(dim=(1, 2, 3, 4)) > 1e-4


def test_all_frames_of_a_clip_get_the_same_draw() -> None:
    torch.manual_seed(0)
    clips = still_clips(16)
    assert not moves(RandomCrop(32, (0.2, 1.0))(clips)).any()
    assert not moves(RandomColour()(clips)).any()


def test_clips_of_a_batch_get_draws_of_their_own() -> None:
    torch.manual_seed(0)
    clips = still_clips(1).expand(16, -1, -1, -1, -1).contiguous()
    for augmentation in (RandomCrop(32, (0.2, 1.0)), RandomColour()):
        flat = augmentation(clips).flatten(1)
        distinct = len(torch.unique(flat.round(decimals=3), dim=0))
        assert distinct > 10


def test_jitter_per_frame_is_drawn_anew_for_each_frame() -> None:
    torch.manual_seed(0)
    moved = moves(RandomColour(per_frame=True)(still_clips(32)))
    assert moved.float().mean() > 0.8  # p is 0.8 for each of five frames


def test_a_crop_covers_a_share_of_the_frame_within_its_bounds() -> None:
    """On a ramp from 0 to 1 in both directions, values tell which part of the frame a crop shows."""
    torch.manual_seed(0)
    ramp = torch.stack(torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij"))
    clips = torch.cat([ramp, ramp[:1]])[None, :, None].expand(200, -1, 1, -1, -1).contiguous()
    out = RandomCrop(32, (0.3, 0.5))(clips)
    extent = out.amax(dim=(2, 3, 4)) - out.amin(dim=(2, 3, 4))  # 200 x 3
    area = extent[:, 0] * extent[:, 1]
    assert out.shape == (200, 3, 1, 32, 32)
    assert 0.2 < area.min() < 0.34 and 0.44 < area.max() < 0.55
    flipped = out[:, 1, 0, 0, 0] > out[:, 1, 0, 0, -1]
    assert 0.35 < flipped.float().mean() < 0.65


def test_crop_leaves_values_beyond_0_and_1_as_they_are() -> None:
    torch.manual_seed(0)
    clips = still_clips(4) * 3 - 1
    out = RandomCrop(32, (0.9, 1.0))(clips)
    assert out.min() < -0.5 and out.max() > 1.5


def test_a_share_of_clips_becomes_grey() -> None:
    torch.manual_seed(0)
    out = RandomColour()(still_clips(300, frames=1, height=16, width=16))
    grey = (out - out[:, :1]).abs().amax(dim=(1, 2, 3, 4)) < 1e-3
    assert 0.12 < grey.float().mean() < 0.28


def test_normalise_is_imagenets() -> None:
    clips = torch.rand(2, 3, 2, 4, 4)
    expected = (clips.numpy() - np.array([0.485, 0.456, 0.406])[:, None, None, None]) / np.array([0.229, 0.224, 0.225])[
        :, None, None, None
    ]
    np.testing.assert_allclose(Normalise()(clips), expected, atol=1e-6)


def test_a_square_crop_is_seven_eighths_of_the_shorter_side_anywhere_and_flipped_half_the_time() -> None:
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    clips = torch.stack([rows, columns, columns])[None, :, None].expand(200, -1, 2, -1, -1).contiguous()
    out = DPCCrop(56)(clips)  # 56 of 64: nothing is resized, so that values are places
    assert out.shape == (200, 3, 2, 56, 56) and torch.equal(out[:, :, 0], out[:, :, 1])
    top, left, right = out[:, 0, 0, 0, 0], out[:, 1, 0, 0, 0], out[:, 1, 0, 0, -1]
    assert torch.equal(out[:, 0, 0, -1, 0] - top, torch.full((200,), 55.0))
    assert torch.equal((right - left).abs(), torch.full((200,), 55.0))
    assert 0.35 < (right < left).float().mean() < 0.65
    assert set(top.tolist()) == set(range(9)) and len(set(torch.minimum(left, right).tolist())) > 25


def test_a_square_crop_is_resized() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 2, 64, 64).contiguous()
    torch.manual_seed(0)
    small = DPCCrop(32)(ramp)
    assert small.shape == (1, 3, 2, 32, 32)
    steps = small[0, 0, 0, 5].diff().abs()[2:-2]
    np.testing.assert_allclose(steps, 56 / 32 / 63, rtol=0.1)


def test_dpc_s_colours_are_drawn_for_every_frame() -> None:
    torch.manual_seed(0)
    clips = still_clips(40)
    out = DPCColour()(clips)
    assert out.shape == clips.shape and out.min() >= 0 and out.max() <= 1
    assert moves(out).all()


def test_half_of_the_frames_are_one_channel_before_the_jitter_which_leaves_grey_grey() -> None:
    torch.manual_seed(0)
    out = DPCColour()(still_clips(100, height=8, width=8))
    grey = (out - out[:, :1]).abs().amax(dim=(1, 3, 4)) < 1e-3  # clip, frame
    assert 0.42 < grey.float().mean() < 0.58
    per_clip = grey.float().mean(dim=1)
    assert ((per_clip > 0) & (per_clip < 1)).float().mean() > 0.8, "frame by frame, not clip by clip"


def test_a_grey_frame_is_a_channel_of_its_own() -> None:
    torch.manual_seed(0)
    colour = DPCColour()
    colour._jitter = nn.Identity()
    clips = still_clips(60, height=8, width=8)
    out = colour(clips)
    chosen = {
        channel
        for clip, changed in zip(clips, out, strict=True)
        for t in range(5)
        for channel in range(3)
        if torch.equal(changed[:, t], clip[channel, t].expand(3, 8, 8))
    }
    assert chosen == {0, 1, 2}

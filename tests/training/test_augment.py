"""Augmentation: one draw per clip, its own for each clip, and nothing that it should not touch."""

import colorsys

import numpy as np
import pytest
import torch
from kornia import augmentation as kornia
from PIL import Image
from torch import Tensor, nn

from s2vc.pipeline.flow import load_flow
from s2vc.training.augment import (
    LABEL_JITTER_SHARE,
    ClipJitter,
    DPCColour,
    DPCCrop,
    Normalise,
    RandomColour,
    RandomCrop,
    UnclampedJitter,
)
from s2vc.training.choices import COLOUR_JITTER
from s2vc.training.settings import merge_settings
from s2vc.training.views import PairViews


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


def test_colours_for_learning_classes_change_three_clips_in_ten_and_none_to_grey() -> None:
    torch.manual_seed(0)
    clips = still_clips(400)
    out = ClipJitter(LABEL_JITTER_SHARE)(clips)
    assert not moves(out).any()
    changed = (out - clips).flatten(1).abs().amax(dim=1) > 1e-3
    assert abs(changed.float().mean() - 0.3) < 0.1  # four standard deviations of 400 draws are 0.09
    grey = (out.amax(dim=1) - out.amin(dim=1)).flatten(1).amax(dim=1) < 1e-3
    assert not grey.any()


def test_a_clip_is_jittered_in_every_frame_or_in_none() -> None:
    torch.manual_seed(0)
    colour = RandomColour(per_frame=True)
    colour._grey, colour._blur = nn.Identity(), nn.Identity()
    clips = still_clips(200, frames=6, height=8, width=8)
    changed = (colour(clips) - clips).abs().amax(dim=(1, 3, 4)) > 1e-4  # clip, frame
    assert ((changed.all(dim=1)) | (~changed.any(dim=1))).all()
    assert 0.7 < changed[:, 0].float().mean() < 0.9
    jittered = colour(clips)[changed[:, 0]]
    assert len({tuple(f.flatten()[:9].tolist()) for f in colour(clips)[0].unbind(1)}) in (1, 6)
    assert moves(jittered).float().mean() > 0.7, "frame by frame, not clip by clip"


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


@pytest.mark.parametrize(("height", "width"), [(100, 100), (24, 24)])
def test_a_crop_of_the_whole_frame_is_what_pil_makes_of_it(height: int, width: int) -> None:
    """At a share of 1 no other box fits a square, but for a pixel's rounding."""
    clips = torch.rand(6, 3, 2, height, width, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    out = RandomCrop(56, (1.0, 1.0))(clips)
    seen = set()
    for clip, cropped in zip(clips.flatten(1, 2), out.flatten(1, 2), strict=True):
        for plane, got in zip(clip, cropped, strict=True):
            expected = np.asarray(Image.fromarray(plane.numpy()).resize((56, 56), Image.Resampling.BILINEAR))
            flipped = np.abs(got.numpy() - expected).max() > 0.1
            np.testing.assert_allclose(got.numpy()[:, :: -1 if flipped else 1], expected, atol=2e-6)
            seen.add(flipped)
    assert seen == {False, True}


def test_random_boxes_are_cut_as_pil_cuts_them() -> None:
    """The second and third frame of a clip are ramps of column and row, which tell the box that was drawn."""
    side, height, width = 40, 96, 130
    noise = torch.rand(24, 3, 1, height, width, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    clips = torch.cat([noise, columns.expand_as(noise), rows.expand_as(noise)], dim=2)
    torch.manual_seed(0)
    out = RandomCrop(side, (0.08, 1.0))(clips).numpy()
    drawn, flips = set(), set()
    for clip, cut in zip(clips.numpy(), out, strict=True):
        flipped = cut[0, 1, 20, 30] < cut[0, 1, 20, 10]
        cut = cut[..., ::-1] if flipped else cut
        box = []
        for ramp in (cut[0, 1, 20], cut[0, 2, :, 20]):  # Pixel i shows the place start + (i + 0.5) * length / side.
            step, place = np.polyfit(np.arange(2, 38) + 0.5, ramp[2:38], 1)
            box += [place + 0.5, step * side]
        left, wide, top, high = (round(float(value)) for value in box)
        np.testing.assert_allclose(box, [left, wide, top, high], atol=0.2)
        image = Image.fromarray(clip[1, 0])
        edges = (left, top, left + wide, top + high)
        as_box = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=edges))
        np.testing.assert_allclose(cut[1, 0][1:-1, 1:-1], as_box[1:-1, 1:-1], atol=5e-6)  # PIL looks beyond a box.
        as_cut = np.asarray(image.crop(edges).resize((side, side), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(cut[1, 0], as_cut, atol=5e-6)
        drawn.add(edges)
        flips.add(bool(flipped))
    covered = [(right - left) * (bottom - top) / (height * width) for left, top, right, bottom in drawn]
    assert len(drawn) > 20 and min(covered) < 0.12 and max(covered) > 0.8 and flips == {False, True}


def test_detail_finer_than_the_pixels_of_a_crop_does_not_come_back_as_stripes() -> None:
    torch.manual_seed(0)
    stripes = (torch.arange(340) % 2).float().expand(8, 3, 1, 256, 340).contiguous()
    assert RandomCrop(112, (0.9, 1.0))(stripes)[..., 4:-4].std() < 0.06  # without the wider filter it is above 0.2


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


def test_without_clamping_the_jitter_is_kornias_within_the_range() -> None:
    images = 0.45 + 0.1 * torch.rand(64, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    expected = kornia.ColorJitter(*COLOUR_JITTER, p=0.8)(images)
    torch.manual_seed(0)
    assert expected.min() > 0 and expected.max() < 1, "nothing was clamped"
    torch.testing.assert_close(UnclampedJitter(*COLOUR_JITTER, p=0.8)(images), expected, atol=2e-6, rtol=0)


def test_the_unclamped_jitter_computes_the_formulas_of_its_steps_beyond_the_range() -> None:
    """Brightness x b; contrast and saturation blend with the mean grey and with the grey; hue turns a pure colour."""
    images = 3 * torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 1
    jitter = UnclampedJitter(*COLOUR_JITTER, p=1.0)
    torch.manual_seed(3)
    out = jitter(images)
    drawn = {name: value.numpy() for name, value in jitter._params.items()}
    for n, image in enumerate(images.double().numpy()):
        x = image.transpose(1, 2, 0)
        for step in drawn["order"]:
            grey = (x @ [0.299, 0.587, 0.114])[..., None]
            b, c, s, h = (
                drawn[f"{k}_factor"][n].astype(np.float64) for k in ("brightness", "contrast", "saturation", "hue")
            )
            if step < 3:
                x = (b * x, c * x + (1 - c) * grey.mean(), s * x + (1 - s) * grey)[step]
                continue
            low, high = x.min(axis=2, keepdims=True), x.max(axis=2, keepdims=True)
            turned = [colorsys.rgb_to_hsv(*p) for p in ((x - low) / (high - low)).reshape(-1, 3)]
            pure = np.array([colorsys.hsv_to_rgb((hue + h) % 1, sat, value) for hue, sat, value in turned])
            x = low + (high - low) * pure.reshape(x.shape)
        np.testing.assert_allclose(out[n].numpy().transpose(1, 2, 0), x, atol=1e-4)
    assert out.min() < -0.5 and out.max() > 1.5


@pytest.mark.parametrize("per_frame", [False, True])
def test_colours_that_are_not_clamped_keep_what_lies_beyond_0_and_1(per_frame: bool) -> None:
    clips = 4 * still_clips(60, height=8, width=8) - 1.5
    for clamp, kept in ((True, 0.2), (False, 1.0)):
        torch.manual_seed(0)
        colour = RandomColour(per_frame, clamp)
        colour._grey, colour._blur = nn.Identity(), nn.Identity()
        outside = ((out := colour(clips)) < -0.01) | (out > 1.01)
        assert outside.flatten(1).any(dim=1).float().mean() == pytest.approx(kept, abs=0.12)


def test_dpc_s_colours_are_clamped_or_not() -> None:
    clips = 4 * still_clips(6, height=8, width=8) - 1.5
    torch.manual_seed(0)
    clamped, free = DPCColour()(clips), DPCColour(clamp=False)(clips)
    assert clamped.min() >= 0 and clamped.max() <= 1
    assert free.min() < -0.5 and free.max() > 1.5


def test_the_flow_in_the_loop_takes_an_alpha_for_each_sample() -> None:
    """Nothing is suppressed at alpha 0, and all at a large one: then all frames have the same small frame."""
    settings = merge_settings(
        {"method": "s2vc-online", "alpha": [0.0, 1e6], "key_augment": "crop", "key_scale": [1, 1], "size": 64}
    )
    frames = torch.randint(0, 256, (8, 4, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    keys = PairViews(settings, load_flow("default")).key(frames)
    changing = keys.std(dim=2).mean(dim=(1, 2, 3)) > 0.1
    assert 0 < int(changing.sum()) < len(frames), "both alphas are drawn within one batch"

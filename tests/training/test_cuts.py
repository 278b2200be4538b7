"""Cuts: the pixels of stored clips are those of whole videos, cut, and whole videos are never made."""

import pytest
import torch
from torch import nn

from s2vc.training.augment import DPCCrop, RandomCrop
from s2vc.training.clips import MotionClip, as_video, motion_preserved_video
from s2vc.training.cuts import ClipCuts
from s2vc.training.settings import TrainingSettings
from s2vc.training.views import DPCViews, PairViews
from tests.support.peak_memory import peak_tensor_bytes

ROUNDING = 1e-6


def stored(n: int = 3, t: int = 4, height: int = 71, width: int = 100) -> MotionClip:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (n, t, height, width, 3), dtype=torch.uint8, generator=generator)
    correction = torch.randint(-128, 128, (n, t, 64, 64, 3), generator=generator).to(torch.int8)
    return MotionClip(frames, correction, torch.rand(n, generator=generator) / 100)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (71, 100), (128, 171), (64, 37)])
def test_a_box_has_the_pixels_of_the_whole_video_there(height: int, width: int) -> None:
    clips = stored(height=height, width=width)
    videos = {"V": (clips.frames, as_video(clips.frames)), "V_p": (clips, motion_preserved_video(clips))}
    rows, columns = slice(5, 44), slice(11, 36)
    for kept, video in videos.values():
        cuts = ClipCuts(kept)
        assert cuts.size == (3, 4, height, width) == ClipCuts(video).size
        for number in range(3):
            expected = video[number, :, :, rows, columns]
            torch.testing.assert_close(cuts.cut(number, rows, columns), expected, atol=ROUNDING, rtol=0)
            assert torch.equal(ClipCuts(video).cut(number, rows, columns), expected)


@pytest.mark.parametrize("crop", [RandomCrop(32, (0.2, 1.0)), DPCCrop(32)])
def test_crops_of_stored_clips_are_those_of_videos(crop: nn.Module) -> None:
    clips = stored(n=8)
    for kept, video in ((clips.frames, as_video(clips.frames)), (clips, motion_preserved_video(clips))):
        torch.manual_seed(1)
        expected = crop(video)
        torch.manual_seed(1)
        torch.testing.assert_close(crop(kept), expected, atol=ROUNDING, rtol=0)


def test_views_take_less_memory_than_whole_videos_in_float32() -> None:
    clips = stored(n=16, t=8, height=128, width=171)
    whole = clips.frames.numel() * 4
    pairs = PairViews(TrainingSettings(size=32, key_augment="crop"))
    dense = DPCViews(TrainingSettings(method="dpc-s2vc", size=32))

    assert peak_tensor_bytes(lambda: pairs.query(clips.frames)) < whole
    assert peak_tensor_bytes(lambda: pairs.key(clips)) < whole
    assert peak_tensor_bytes(lambda: dense(clips)) < whole

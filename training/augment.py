"""Augmentation of clips, batched on the device that holds them, with one draw per clip (paper, implementation details);
and the augmentation of dense predictive coding (DPC), whose colours are drawn for every frame.

Kornia's image operations do the work. The frames of a clip lie side by side in one image, in channels or in rows, so
that all of them get the same crop, flip, blur and colours.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.pipeline.device import to_device
from s2vc.training.choices import COLOUR_JITTER, IMAGENET_MEAN, IMAGENET_STD, NORMALISATIONS, RGB
from s2vc.training.clips import MotionClip
from s2vc.training.cuts import ClipCuts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Kornia announces its own deprecations at import.
    from kornia import augmentation as kornia
    from kornia.color import rgb_to_grayscale
    from kornia.enhance import adjust_hue

CROP_RATIO = (3 / 4, 4 / 3)
JITTERED_SHARE = 0.8
"""This share of clips gets a jitter of colours."""
LABEL_JITTER_SHARE = 0.3
"""Where classes are learned, this share of clips is jittered, and nothing else done to colours, as in the published
code: colours tell some classes."""
BLUR_KERNEL = 13
"""It is in pixels, and spans three standard deviations of the widest blur on either side."""
DPC_CROP = 224 / 256
"""This is a share of the shorter side of a frame."""
DPC_JITTER = (0.5, 0.5, 0.5, 0.25)


def describe_normalisation(mean: RGB, std: RGB) -> str:
    """Name a mean and deviation of channels as NORMALISATIONS does, or give them in numbers where they have no name."""
    known = [name for name, numbers in NORMALISATIONS.items() if numbers == (tuple(mean), tuple(std))]
    numbers = [" ".join(f"{value:g}" for value in values) for values in (mean, std)]
    return known[0] if known else f"mean {numbers[0]}, std {numbers[1]}"


class RandomCrop(nn.Module):
    """Crops at random, resizes, flips: clips, stored or (N, 3, T, H, W) -> (N, 3, T, size, size). scale: range of the
    share of area.

    Where it shrinks, the bilinear filter is as wide as the pixels it makes, as in PIL and in the crops of tests, so
    that detail finer than these is averaged, and does not come back as a coarse pattern.
    """

    def __init__(self, size: int, scale: tuple[float, float]):
        super().__init__()
        self._size = size
        self._crop = kornia.RandomResizedCrop((size, size), scale, CROP_RATIO)
        self._flip = kornia.RandomHorizontalFlip(p=0.5)

    def forward(self, clips: Tensor | MotionClip) -> Tensor:
        """Take what ClipCuts takes. Draws are kornia's, which gives the corners (x, y) of boxes, ends counted."""
        cuts = ClipCuts(clips)
        n, t, height, width = cuts.size
        shape = torch.Size((n, 3 * t, height, width))
        corners = self._crop.forward_parameters(shape)["src"].long()[:, ::2].flatten(1).tolist()
        flips = (self._flip.forward_parameters(shape)["batch_prob"] > 0.5).tolist()
        cut = (
            cuts.cut(number, slice(top, bottom + 1), slice(left, right + 1))
            for number, (left, top, right, bottom) in enumerate(corners)
        )
        out = _resize_each(cut, cuts, self._size)
        for clip, flip in zip(out, flips, strict=True):
            if flip:
                clip.copy_(clip.flip(-1))
        return out


class UnclampedJitter(kornia.ColorJitter):
    """Does to images (N, 3, H, W) what kornia's ColorJitter does, by the same draws, but for its clamping to [0, 1].

    Brightness, contrast and saturation are linear. Hue turns within the lowest and the highest channel of a pixel,
    which stay as they are. Within [0, 1] this is what ColorJitter computes, until something leaves that range.
    """

    def apply_transform(self, input: Tensor, params: Any, flags: Any, transform: Tensor | None = None) -> Tensor:
        """Apply the four steps in the order that was drawn."""
        names = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
        factors = to_device(torch.stack([params[n] for n in names]).to(input.dtype), input.device)
        brightness, contrast, saturation, hue = factors[..., None, None, None]
        steps: list[Callable[[Tensor], Tensor]] = [
            lambda x: x * brightness,
            lambda x: torch.lerp(rgb_to_grayscale(x).mean(dim=(-2, -1), keepdim=True), x, contrast),
            lambda x: torch.lerp(rgb_to_grayscale(x), x, saturation),
            lambda x: _turn_hue(x, hue),
        ]
        for step in params["order"].tolist():
            input = steps[step](input)
        return input


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of images (N, 3, H, W) of any range by turns (N, 1, 1, 1): each pixel is taken for a mixture of grey
    and of a pure colour, whose channels reach from 0 to 1, and the pure colour is turned."""
    low = images.amin(dim=1, keepdim=True)
    spread = images.amax(dim=1, keepdim=True) - low
    pure = (images - low) / spread.clamp(min=torch.finfo(images.dtype).tiny)
    return low + spread * adjust_hue(pure, turns.flatten() * (2 * math.pi))


class ClipJitter(nn.Module):
    """Jitters the colours of a share of the clips, by COLOUR_JITTER: (N, 3, T, H, W) -> the same shape.

    per_frame: a clip is jittered or not as a whole, and if it is, by a new draw for every frame, as in the published
    code. clamp: jittered clips are clamped to [0, 1], as images are by all libraries; others stay as they are.
    """

    def __init__(self, share: float, per_frame: bool = False, clamp: bool = True):
        super().__init__()
        self._share, self._per_frame = share, per_frame
        jitter = kornia.ColorJitter if clamp else UnclampedJitter
        self._jitter = jitter(*COLOUR_JITTER, p=1.0 if per_frame else share)

    def forward(self, clips: Tensor) -> Tensor:
        if not self._per_frame:
            return _frames_in_rows(clips, self._jitter)
        drawn = (torch.rand(len(clips)) < self._share).nonzero()[:, 0]
        if not len(drawn):
            return clips
        chosen = to_device(drawn, clips.device)
        frames = clips[chosen].transpose(1, 2)
        jittered = self._jitter(frames.flatten(0, 1)).view_as(frames).transpose(1, 2)
        return clips.index_copy(0, chosen, jittered)


class RandomColour(nn.Module):
    """Jitters colours (p 0.8), turns grey (p 0.2) and blurs (p 0.5, sigma 0.1 to 2): (N, 3, T, H, W) -> the same shape.

    per_frame, clamp: as in ClipJitter. Without clamp no value is clamped, for motion-preserved clips, many of whose
    values lie outside.
    """

    def __init__(self, per_frame: bool = False, clamp: bool = True):
        super().__init__()
        self._jitter = ClipJitter(JITTERED_SHARE, per_frame, clamp)
        self._grey = kornia.RandomGrayscale(p=0.2)
        self._blur = kornia.RandomGaussianBlur((BLUR_KERNEL, BLUR_KERNEL), (0.1, 2.0), p=0.5)

    def forward(self, clips: Tensor) -> Tensor:
        return _frames_in_channels(_frames_in_rows(self._jitter(clips), self._grey), self._blur)


class DPCCrop(nn.Module):
    """Cuts a square of DPC_CROP of the shorter side at a random place, flips it or not, and resizes it, as DPC does on
    UCF101: clips, stored or (N, 3, T, H, W) -> (N, 3, T, size, size), with one draw per clip."""

    def __init__(self, size: int):
        super().__init__()
        self._size = size

    def forward(self, clips: Tensor | MotionClip) -> Tensor:
        """Take what ClipCuts takes."""
        cuts = ClipCuts(clips)
        n, _, height, width = cuts.size
        side = round(min(height, width) * DPC_CROP)
        tops, lefts = (torch.randint(room + 1, (n,)).tolist() for room in (height - side, width - side))
        flips = (torch.rand(n) < 0.5).tolist()
        places = enumerate(zip(tops, lefts, strict=True))
        cut = (cuts.cut(number, slice(y, y + side), slice(x, x + side)) for number, (y, x) in places)
        flipped = (clip.flip(-1) if flip else clip for clip, flip in zip(cut, flips, strict=True))
        return _resize_each(flipped, cuts, self._size)


class DPCColour(nn.Module):
    """Turns grey (p 0.5) and jitters colours, drawn anew for every frame, as DPC does: clips (N, 3, T, H, W) -> the
    same shape. As published, grey is one of the three channels, at random. clamp: as in RandomColour."""

    def __init__(self, clamp: bool = True) -> None:
        super().__init__()
        self._jitter = (kornia.ColorJitter if clamp else UnclampedJitter)(*DPC_JITTER, p=1.0)

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2)  # N x T x 3 x H x W
        images = frames.flatten(0, 1)
        channel = torch.randint(3, (len(images),), device=images.device)
        one = images[torch.arange(len(images), device=images.device), channel][:, None]
        grey = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        images = torch.where(grey, one, images)
        return self._jitter(images).view_as(frames).transpose(1, 2)


class Normalise(nn.Module):
    """Subtracts a mean from each channel and divides by a deviation, ImageNet's if no others are given: clips (N, 3, T,
    H, W) in about [0, 1] -> the same shape."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: RGB = IMAGENET_MEAN, std: RGB = IMAGENET_STD) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None, None], persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        return (clips - self.mean) / self.std


def _resize(images: Tensor, size: int) -> Tensor:
    """Resize images (…, C, H, W) -> (…, C, size, size) as PIL does, whose bilinear filter widens where it shrinks."""
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True)


def _resize_each(boxes: Iterable[Tensor], cuts: ClipCuts, size: int) -> Tensor:
    """Resize a box (3, T, h, w) of each clip, one after another, to one batch: (N, 3, T, size, size)."""
    n, t = cuts.size[:2]
    out = torch.empty(n, 3, t, size, size, dtype=cuts.dtype, device=cuts.device)
    for place, box in zip(out, boxes, strict=True):
        place.copy_(_resize(box, size))
    return out


def _frames_in_channels(clips: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a change that treats all channels alike to clips as images of 3 T channels."""
    n, c, t, h, w = clips.shape
    images = change(clips.reshape(n, c * t, h, w))
    return images.view(n, c, t, *images.shape[2:])


def _frames_in_rows(clips: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a change that treats all pixels alike, and needs three channels, to clips as images of T H rows."""
    return change(clips.flatten(2, 3)).view_as(clips)

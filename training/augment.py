"""Augmentation of clips, batched on the device that holds them, with one draw per clip (paper, implementation details);
and the augmentation of dense predictive coding (DPC), whose colours are drawn for every frame.

Kornia's image operations do the work. The frames of a clip lie side by side in one image, in channels or in rows, so
that all of them get the same crop, flip, blur and colours.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Kornia announces its own deprecations at import.
    from kornia import augmentation as kornia

CROP_RATIO = (3 / 4, 4 / 3)
COLOUR_JITTER = (0.4, 0.4, 0.4, 0.1)
"""These are the strengths of brightness, contrast, saturation and hue."""
BLUR_KERNEL = 13
"""It is in pixels, and spans three standard deviations of the widest blur on either side."""
DPC_CROP = 224 / 256
"""This is a share of the shorter side of a frame."""
DPC_JITTER = (0.5, 0.5, 0.5, 0.25)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RandomCrop(nn.Module):
    """Crops at random, resizes, flips: clips (N, 3, T, H, W) -> (N, 3, T, size, size). scale: range of the share of
    area."""

    def __init__(self, size: int, scale: tuple[float, float]):
        super().__init__()
        self._crop = kornia.RandomResizedCrop((size, size), scale, CROP_RATIO, align_corners=False)
        self._flip = kornia.RandomHorizontalFlip(p=0.5)

    def forward(self, clips: Tensor) -> Tensor:
        return _frames_in_channels(clips, lambda x: self._flip(self._crop(x)))


class RandomColour(nn.Module):
    """Jitters colours (p 0.8), turns grey (p 0.2) and blurs (p 0.5, sigma 0.1 to 2): (N, 3, T, H, W) -> the same shape.

    per_frame: the jitter is drawn anew for every frame, as in the published code. Kornia clamps jittered clips to [0,
    1] and leaves others as they are.
    """

    def __init__(self, per_frame: bool = False):
        super().__init__()
        self._per_frame = per_frame
        self._jitter = kornia.ColorJitter(*COLOUR_JITTER, p=0.8)
        self._grey = kornia.RandomGrayscale(p=0.2)
        self._blur = kornia.RandomGaussianBlur((BLUR_KERNEL, BLUR_KERNEL), (0.1, 2.0), p=0.5)

    def forward(self, clips: Tensor) -> Tensor:
        if self._per_frame:
            images = clips.transpose(1, 2)
            clips = self._jitter(images.flatten(0, 1)).view_as(images).transpose(1, 2)
        else:
            clips = _frames_in_rows(clips, self._jitter)
        return _frames_in_channels(_frames_in_rows(clips, self._grey), self._blur)


class DPCCrop(nn.Module):
    """Cuts a square of DPC_CROP of the shorter side at a random place, flips it or not, and resizes it, as DPC does on
    UCF101: clips (N, 3, T, H, W) -> (N, 3, T, size, size), with one draw per clip."""

    def __init__(self, size: int):
        super().__init__()
        self._size = (size, size)

    def forward(self, clips: Tensor) -> Tensor:
        n, (height, width) = len(clips), clips.shape[-2:]
        side = round(min(height, width) * DPC_CROP)
        top, left = (torch.randint(room + 1, (n,)).tolist() for room in (height - side, width - side))
        flipped = (torch.rand(n) < 0.5).tolist()
        cut = torch.stack([c[..., t : t + side, x : x + side] for c, t, x in zip(clips, top, left, strict=True)])
        cut = torch.stack([c.flip(-1) if flip else c for c, flip in zip(cut, flipped, strict=True)])
        return _frames_in_channels(
            cut, lambda x: functional.interpolate(x, self._size, mode="bilinear", antialias=True)
        )


class DPCColour(nn.Module):
    """Turns grey (p 0.5) and jitters colours, drawn anew for every frame, as DPC does: clips (N, 3, T, H, W) -> the
    same shape in [0, 1]; values beyond are clamped first. As published, grey is one of the three channels, at
    random."""

    def __init__(self) -> None:
        super().__init__()
        self._jitter = kornia.ColorJitter(*DPC_JITTER, p=1.0)

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2)  # N x T x 3 x H x W
        images = frames.flatten(0, 1).clamp(0, 1)
        channel = torch.randint(3, (len(images),), device=images.device)
        one = images[torch.arange(len(images), device=images.device), channel][:, None]
        grey = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        images = torch.where(grey, one, images)
        return self._jitter(images).view_as(frames).transpose(1, 2)


class Normalise(nn.Module):
    """Subtracts ImageNet's mean and divides by its deviation: clips (N, 3, T, H, W) in about [0, 1] -> the same
    shape."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None, None], persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        return (clips - self.mean) / self.std


def _frames_in_channels(clips: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a change that treats all channels alike to clips as images of 3 T channels."""
    n, c, t, h, w = clips.shape
    images = change(clips.reshape(n, c * t, h, w))
    return images.view(n, c, t, *images.shape[2:])


def _frames_in_rows(clips: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a change that treats all pixels alike, and needs three channels, to clips as images of T H rows."""
    return change(clips.flatten(2, 3)).view_as(clips)

"""The crop that shows a clip where nothing is drawn at random: in evaluation, and while a training is watched."""

import torch
from torch import Tensor
from torch.nn import functional

CROP_SHARE = 0.875
"""A crop shows this share of the shorter side: 112 of the 128 pixels that are stored by default."""

CENTRE = 4
"""The centre has this place among the positions of a crop."""


def fixed_crop_side(height: int, width: int) -> int:
    """Give the side in pixels of what `fixed_crop` cuts from frames of a height and width."""
    return round(min(height, width) * CROP_SHARE)


def fixed_crop(video: Tensor, size: int, position: int) -> Tensor:
    """Cut a square of CROP_SHARE of the shorter side of clips (N, 3, T, H, W), resized: (N, 3, T, size, size) float32.

    8-bit clips become shares of the range, after the cut. position: 0 to 3 for the corners, in reading order; 4 for the
    centre.
    """
    n, _, t, height, width = video.shape
    side = fixed_crop_side(height, width)
    bottom, right = height - side, width - side
    top, left = ((0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2)))[position]
    cut = video[..., top : top + side, left : left + side]
    if cut.dtype == torch.uint8:
        cut = cut.float().div_(255)
    if side == size:
        return cut
    images = cut.transpose(1, 2).flatten(0, 1)
    resized = functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized.unflatten(0, (n, t)).transpose(1, 2)

"""This module computes the likelihood of images under the flow (eq. 2), as bits per dimension.

An image of 8-bit levels v becomes x = (v + u) / 256 + σ n, with u uniform in [0, 1) (dequantisation) and n standard
normal (AdvFlow's recipe). The bits per dimension of x are (-log p(x) / D + log 256) / log 2, where log p(x) = log N(z;
0, I) + log_det in nats; log 256 converts a density over [0, 1] to one over levels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.flow.model import Flow

LEVELS = 256


def dequantised(images: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Return x (N, 3, 64, 64) float32 of 8-bit images: uniform in each level, plus Gaussian noise of STD `noise`."""
    x = images.float()
    x = (x + torch.rand(x.shape, generator=generator, device=x.device)) / LEVELS
    return x + noise * torch.randn(x.shape, generator=generator, device=x.device) if noise else x


def bits_per_dimension(flow: Flow, x: Tensor) -> Tensor:
    """Return the bits per dimension of each image x (N, 3, 64, 64): (N,) float32."""
    return bits_from_latents(*flow(x))


def bits_from_latents(z: Tensor, log_det: Tensor) -> Tensor:
    """Return the bits per dimension of images with latents z (N, 12288) and log_det (N,) in nats: (N,) float32."""
    log_p = -0.5 * (z.square().sum(dim=1) + LATENTS * math.log(2 * math.pi)) + log_det
    return (-log_p / LATENTS + math.log(LEVELS)) / math.log(2)


@torch.no_grad()
def evaluated_bits(
    flow: Flow,
    images: Tensor,
    noise: float,
    seed: int = 0,
    batch: int = 64,
    done: Callable[[int], None] = lambda n: None,
) -> float:
    """Return the mean bits per dimension of images (N, 3, 64, 64) uint8, each dequantised once by the seed.

    done(n) is called after each batch, of n images.
    """
    device, total = flow.device, 0.0
    generator = torch.Generator(device).manual_seed(seed)
    for part in images.split(batch):
        total += float(bits_per_dimension(flow, dequantised(part.to(device), noise, generator)).sum())
        done(len(part))
    return total / len(images)

"""What rounding may do, by Monte Carlo arithmetic (Parker 1997), so that no test holds what a machine happened to give.

A float32 flow whose weights, and whatever its layers take in and give, are each off by a random relative error of up to
the unit roundoff stands for one with subnets in bfloat16: sums are kept in float32 by both. How far its results are off
is how far those of any machine may be.
"""

import copy

import torch
from torch import Tensor, nn

from s2vc.pipeline.flow import Flow

BFLOAT16_ROUNDOFF = 2.0**-9
"""Of 8 significant bits, rounded to the nearest."""

MARGIN = 2.0
"""An error may be so many times the one that was drawn: errors of one image are alike over its pixels, and so they add
up to more or less than those of independent draws."""


def perturbed(flow: Flow, seed: int = 0, roundoff: float = BFLOAT16_ROUNDOFF) -> Flow:
    """A copy of a float32 flow that computes as one with bfloat16 subnets might, by the seed."""
    generator = torch.Generator().manual_seed(seed)

    def off(x: Tensor) -> Tensor:
        return x * (1 + roundoff * (2 * torch.rand(x.shape, generator=generator) - 1))

    other = copy.deepcopy(flow)
    for layer in other.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data, layer.bias.data = off(layer.weight.data), off(layer.bias.data)  # type: ignore[union-attr]
            layer.register_forward_pre_hook(lambda of, given: (off(given[0]),))
            layer.register_forward_hook(lambda of, given, result: off(result))
    return other


def rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())

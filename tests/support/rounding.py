"""Estimate rounding errors by Monte Carlo arithmetic (Parker 1997), so that no test depends on one machine's results.

A flow with subnets in bfloat16 is simulated by a float32 flow. Its weights, and the inputs and outputs of its layers,
each get a random relative error of up to the unit roundoff; both flows sum in float32. The errors of the simulation
show how large the errors on any machine may be.
"""

import copy

import torch
from torch import Tensor, nn

from s2vc.pipeline.flow import Flow

BFLOAT16_ROUNDOFF = 2.0**-9
"""This is the unit roundoff of bfloat16, which has 8 significant bits and rounds to the nearest value."""

MARGIN = 2.0
"""An error may be this many times the simulated one: the errors of an image's pixels are correlated, so they add up to
more or less than independent errors would."""


def perturbed(flow: Flow, seed: int = 0, roundoff: float = BFLOAT16_ROUNDOFF) -> Flow:
    """Return a copy of a float32 flow that computes as one with bfloat16 subnets might; the seed draws its errors."""
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

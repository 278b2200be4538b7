"""The flow consists of these invertible parts. Each maps (N, C, …) to as many values, and gives the change of volume.

Every part has `forward(x) -> (y, log_det)` and `inverse(y) -> x`; `log_det` is the logarithm of the absolute
determinant of the Jacobian of forward, (N,) float32, in nats.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CLAMP = 1.5
"""This bounds a coupling's log scale: |log s| < CLAMP * 0.636 * pi / 2, as in AdvFlow."""

LEAKY_SLOPE = 0.1
"""The activation of the convolutional subnets has this negative slope."""


class Subnet(nn.Module):
    """A subnet is a plain network inside a coupling; it may run in another precision than the coupling around it.

    autocast: the dtype to compute in while the weights stay float32, for fitting (`Flow.for_fitting`).
    centre: what `centre_on` took out of the last layer, (C, 1, 1) float32.
    """

    autocast: torch.dtype | None = None
    centre: Tensor | None = None

    def __init__(self, layers: dict[str, nn.Conv2d] | dict[str, nn.Linear], activation: Callable[[Tensor], Tensor]):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.activation = activation

    @property
    def last(self) -> nn.Conv2d | nn.Linear:
        """The last layer gives scale and shift; while it is zero, the coupling is the identity."""
        *_, layer = self.children()
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        return layer

    def centre_on(self, mean: Tensor) -> None:
        """Let the last convolution give the difference from `mean` (C,), and add the mean to it in float32.

        The last layer then rounds small numbers, and so in small steps. Its bias becomes a bfloat16 number, and what
        the bias loses by that is added with the mean.
        """
        bias = self.last.bias.data  # type: ignore[union-attr]
        rounded = (bias - mean).bfloat16().to(bias.dtype)
        self.centre = (bias - rounded)[:, None, None]
        self.last.bias.data = rounded  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, self.autocast) if self.autocast else nullcontext():
            *hidden, last = self.children()
            x = x.to(self.last.weight.dtype)
            for layer in hidden:
                x = self.activation(layer(x))
            x = cast(Tensor, last(x))
        return x if self.centre is None else x.to(self.centre.dtype) + self.centre


def convolutional(channels_in: int, channels_out: int, hidden: int) -> Subnet:
    """Return three 3x3 convolutions with leaky ReLU between: (N, channels_in, H, W) -> (N, channels_out, H, W)."""

    def convolution(a: int, b: int) -> nn.Conv2d:
        return nn.Conv2d(a, b, 3, padding=1)

    layers = {
        "conv1": convolution(channels_in, hidden),
        "conv2": convolution(hidden, hidden),
        "conv3": convolution(hidden, channels_out),
    }
    # The activation works in place, since the subnets wait for memory: at the published width, a hidden layer has 2 MB
    # a frame.
    return Subnet(layers, lambda x: functional.leaky_relu_(x, LEAKY_SLOPE))


def fully_connected(size_in: int, size_out: int, hidden: int) -> Subnet:
    """Return four linear layers with ReLU between: (N, size_in) -> (N, size_out)."""
    layers = {
        "fc1": nn.Linear(size_in, hidden),
        "fc2": nn.Linear(hidden, hidden),
        "fc2b": nn.Linear(hidden, hidden),
        "fc3": nn.Linear(hidden, size_out),
    }
    return Subnet(layers, functional.relu_)


class AffineCoupling(nn.Module):
    """A coupling scales and shifts each half of the channels by what a subnet reads from the other (Dinh et al. 2017).

    The first C // 2 channels are changed first, from the rest; then the rest is changed, from the new first part. The
    log scale is clamped softly, as `CLAMP * 0.636 * atan(s / CLAMP)`. Arithmetic stays in the dtype of x.
    """

    def __init__(self, channels: int, subnet: Callable[[int, int], Subnet]):
        super().__init__()
        self.split = [channels // 2, channels - channels // 2]
        first, second = self.split
        self.s1 = subnet(first, 2 * second)
        self.s2 = subnet(second, 2 * first)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = x.split(self.split, dim=1)
        log_scale1, shift1 = self._scale_and_shift(self.s2, x2)
        y1 = x1 * log_scale1.exp() + shift1
        log_scale2, shift2 = self._scale_and_shift(self.s1, y1)
        y2 = x2 * log_scale2.exp() + shift2
        return torch.cat([y1, y2], dim=1), sum_features(log_scale1) + sum_features(log_scale2)

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y.split(self.split, dim=1)
        log_scale2, shift2 = self._scale_and_shift(self.s1, y1)
        x2 = (y2 - shift2) * (-log_scale2).exp()
        log_scale1, shift1 = self._scale_and_shift(self.s2, x2)
        x1 = (y1 - shift1) * (-log_scale1).exp()
        return torch.cat([x1, x2], dim=1)

    @staticmethod
    def _scale_and_shift(subnet: Subnet, condition: Tensor) -> tuple[Tensor, Tensor]:
        s, shift = subnet(condition).to(condition.dtype).chunk(2, dim=1)
        return CLAMP * 0.636 * torch.atan(s / CLAMP), shift


class Permutation(nn.Module):
    """This puts channels in the random order of `numpy.random.seed(seed); numpy.random.permutation(channels)`."""

    order: Tensor
    order_back: Tensor

    def __init__(self, channels: int, seed: int):
        super().__init__()
        order = np.random.RandomState(seed).permutation(channels)
        self.register_buffer("order", torch.from_numpy(order), persistent=False)
        self.register_buffer("order_back", torch.from_numpy(np.argsort(order)), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y[:, self.order_back]


class FixedConvolution(nn.Module):
    """This 1x1 convolution is never trained: it is a random rotation of the channels, stored with its inverse.

    kept_inverse: (channels, channels) float64, once `keep_inverse` was called; inverting waits for a GPU.
    """

    M: Tensor
    M_inv: Tensor
    kept_inverse: Tensor | None
    logDetM: Tensor  # noqa: N815 - the published checkpoints' name

    def __init__(self, channels: int):
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))
        self.register_buffer("M", q.float()[:, :, None, None])
        self.register_buffer("M_inv", q.T.float().contiguous()[:, :, None, None])
        self.register_buffer("logDetM", torch.zeros(()))
        self.register_buffer("kept_inverse", None, persistent=False)

    def keep_inverse(self) -> None:
        """Compute the inverse once, until other weights are loaded."""
        self.kept_inverse = self._computed_inverse()

    def _computed_inverse(self) -> Tensor:
        # M_inv is not used, since it is rounded to float32; our files have it because the published checkpoints do.
        return torch.linalg.inv(self.M[:, :, 0, 0].double())

    def _load_from_state_dict(self, *given: Any) -> None:
        self.kept_inverse = None
        super()._load_from_state_dict(*given)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pixels = x.shape[2] * x.shape[3]
        log_det = (self.logDetM * pixels).to(x.dtype).expand(len(x))
        return functional.conv2d(x, self.M.to(x.dtype)), log_det

    def inverse(self, y: Tensor) -> Tensor:
        inverse = self._computed_inverse() if self.kept_inverse is None else self.kept_inverse
        return functional.conv2d(y, inverse.to(y.dtype)[:, :, None, None])


class SpaceToChannel(nn.Module):
    """This turns 2x2 pixels into channels, in i-RevNet's order: (row in block * 2 + column in block) * C + channel."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(n, 4 * c, h // 2, w // 2), x.new_zeros(n)

    def inverse(self, y: Tensor) -> Tensor:
        n, c, h, w = y.shape
        blocks = y.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(n, c // 4, 2 * h, 2 * w)


class InvertibleSequence(nn.ModuleList):
    """A sequence applies invertible parts one after another."""

    def __init__(self, parts: Sequence[nn.Module]):
        super().__init__(parts)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for part in self:
            x, change = part(x)
            log_det = log_det + change
        return x, log_det

    def inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self):
            y = part.inverse(y)  # type: ignore[operator]
        return y


def sum_features(x: Tensor) -> Tensor:
    """Sum over all dimensions but the batch: (N, …) -> (N,)."""
    return x.sum(dim=tuple(range(1, x.dim())))

"""Every invertible part: it inverts, and its log-det is that of its Jacobian."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from s2vc.pipeline.flow.couplings import (
    AffineCoupling,
    FixedConvolution,
    InvertibleSequence,
    Permutation,
    SpaceToChannel,
    convolutional,
    fully_connected,
)

PARTS = {
    "high coupling": (lambda: AffineCoupling(3, partial(convolutional, hidden=4)), (3, 4, 4)),
    "low coupling": (lambda: AffineCoupling(12, partial(convolutional, hidden=3)), (12, 2, 2)),
    "deep coupling": (lambda: AffineCoupling(20, partial(fully_connected, hidden=5)), (20,)),
    "permutation": (lambda: Permutation(12, seed=3), (12, 2, 2)),
    "fixed convolution": (lambda: FixedConvolution(12), (12, 2, 3)),
    "space to channel": (SpaceToChannel, (3, 4, 4)),
    "chain": (
        lambda: InvertibleSequence(
            [AffineCoupling(4, partial(convolutional, hidden=3)), Permutation(4, 0), FixedConvolution(4)]
        ),
        (4, 3, 3),
    ),
}


def make(name: str, seed: int = 0) -> tuple[nn.Module, tuple[int, ...]]:
    """A part in float64 with weights large enough that scales differ from 1."""
    torch.manual_seed(seed)
    build, shape = PARTS[name]
    part = build().double()
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.mul_(2.0)
    return part, shape


def jacobian_log_det(part: nn.Module, x: Tensor) -> Tensor:
    """log |det| of the numerical Jacobian of one sample, by automatic differentiation of every output."""
    jacobian = torch.autograd.functional.jacobian(lambda v: part(v[None])[0][0], x)
    return torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet


@pytest.mark.parametrize("name", PARTS)
@given(seed=st.integers(0, 10_000), batch=st.sampled_from([0, 1, 2, 5]))
@settings(max_examples=8, deadline=None)
def test_inverse_undoes_forward(name: str, seed: int, batch: int) -> None:
    part, shape = make(name, seed)
    x = torch.randn(batch, *shape, dtype=torch.float64)
    y, log_det = part(x)
    assert log_det.shape == (batch,)
    torch.testing.assert_close(part.inverse(y), x, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", PARTS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=4, deadline=None)
def test_log_det_is_that_of_the_jacobian(name: str, seed: int) -> None:
    part, shape = make(name, seed)
    x = torch.randn(1, *shape, dtype=torch.float64)
    _, log_det = part(x)
    # A fixed convolution's matrix is stored in float32, and its log-det, 0, as published.
    exact = not any(isinstance(m, FixedConvolution) for m in part.modules())
    torch.testing.assert_close(log_det[0], jacobian_log_det(part, x[0]), atol=1e-9 if exact else 2e-5, rtol=1e-9)


@pytest.mark.parametrize("name", PARTS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=4, deadline=None)
def test_log_dets_of_both_directions_cancel(name: str, seed: int) -> None:
    part, shape = make(name, seed)
    y, log_det = part(torch.randn(1, *shape, dtype=torch.float64))
    back = torch.autograd.functional.jacobian(lambda v: part.inverse(v[None])[0], y[0])
    back_log_det = torch.linalg.slogdet(back.reshape(y.numel(), y.numel())).logabsdet
    torch.testing.assert_close(log_det[0] + back_log_det, torch.zeros((), dtype=y.dtype), atol=2e-5, rtol=0)


def test_space_to_channel_order_is_row_column_channel() -> None:
    x = torch.arange(3 * 4 * 4.0).reshape(1, 3, 4, 4)
    y, _ = SpaceToChannel()(x)
    for row in range(2):
        for column in range(2):
            for channel in range(3):
                expected = x[0, channel, row::2, column::2]
                assert torch.equal(y[0, (row * 2 + column) * 3 + channel], expected)


def test_log_scale_is_bounded_however_large_the_subnet_gets() -> None:
    part, shape = make("deep coupling")
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.mul_(1e6)
    x = torch.randn(3, *shape, dtype=torch.float64)
    _, log_det = part(x)
    bound = 1.5 * 0.636 * torch.pi / 2
    assert (log_det.abs() <= 20 * bound).all()

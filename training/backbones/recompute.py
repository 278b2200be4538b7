"""Activation checkpointing (Chen et al. 2016): what a stage of a backbone computes is forgotten, and computed again in
the backward pass, so that of the activations only the inputs of the stages are kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_stages(backbone: nn.Module, x: Tensor, *stages: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply the stages of a backbone one after another, with activation checkpointing where its attribute of that name
    is true and gradients are wanted. Results, gradients and running statistics are the same with it and without."""
    if not (backbone.activation_checkpointing and torch.is_grad_enabled()):
        for stage in stages:
            x = stage(x)
        return x
    for stage in stages:
        x = checkpoint(
            stage,
            x,
            use_reentrant=False,
            preserve_rng_state=False,  # No stage draws random numbers.
            context_fn=lambda: (nullcontext(), statistics_kept(backbone)),  # The forward pass has counted the batch.
        )
    return x


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let batch norm count what it normalises in copies of its running statistics, which stay as they are."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d) and m.track_running_stats]
    before = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers()]
    for norm, name, buffer in before:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in before:
            setattr(norm, name, buffer)

"""Statistics for batch norm that has none of its own, such as that of r2d3d18: they are measured on training clips, and
then hold for every clip, so that the features of a video do not depend on the others of its batch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

MEASURED_VIDEOS = 128
"""So many training videos are measured, by a clip in the middle of each. Which ones depends on nothing but the set."""

BATCH = 16


def norms_without_statistics(backbone: nn.Module) -> list[nn.BatchNorm3d]:
    """List the layers of batch norm that keep no running statistics."""
    return [m for m in backbone.modules() if isinstance(m, nn.BatchNorm3d) and not m.track_running_stats]


def batches_to_measure(videos: np.ndarray) -> list[np.ndarray]:
    """Choose MEASURED_VIDEOS of some videos, given by their numbers (N,), or all of fewer, in an order that mixes
    classes, and cut them into batches of about equal size, BATCH at most."""
    chosen = np.random.default_rng(0).permutation(videos)[:MEASURED_VIDEOS]
    return np.array_split(chosen, -(-len(chosen) // BATCH))


@torch.no_grad()
def set_statistics(backbone: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch norm without running statistics those of some clips: the means over batches of a batch's means and
    variances. The backbone is left in evaluation mode.

    batches: clips (n, 3, T, H, W) float32 on the backbone's device, normalised.
    """
    for layer in norms_without_statistics(backbone):
        device = layer.weight.device
        layer.running_mean = torch.zeros(layer.num_features, device=device)
        layer.running_var = torch.ones(layer.num_features, device=device)
        layer.num_batches_tracked = torch.zeros((), dtype=torch.long, device=device)
        layer.track_running_stats, layer.momentum = True, None  # None takes the mean over all batches.
    backbone.train()
    for clips in batches:
        backbone(clips)
    backbone.eval()


@contextmanager
def statistics_set(backbone: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Let batch norm have the statistics that `set_statistics` measures, for as long as the block lasts."""
    layers = [(layer, layer.momentum) for layer in norms_without_statistics(backbone)]
    try:
        if layers:
            set_statistics(backbone, batches)
        yield
    finally:
        for layer, momentum in layers:
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
            layer.track_running_stats, layer.momentum = False, momentum

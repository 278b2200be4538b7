"""Statistics for batch norm that has none of its own: they are measured on training videos and then hold for all
videos.

A backbone such as r2d3d18 normalises by the statistics of what it is given together, so that the features of a video
would depend on the others of its batch. The published classifier remembers statistics while it is fine-tuned; published
pre-training does not, and its checkpoints have none. So they are measured before a backbone is evaluated: batches of
training videos go through it, and each layer keeps the mean over batches of their means and variances.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from s2vc.eval.features import autocast_of
from s2vc.eval.videos import stored_rows
from s2vc.eval.view import StoredWindows, View, WindowCrops
from s2vc.pipeline.cache import Cache
from s2vc.training.choices import TRAIN
from s2vc.training.loader import batches_of, data_loader
from s2vc.training.selection import split_column

MEASURED_VIDEOS = 128
"""So many training videos are measured, by the middle window of each. Which ones depends on nothing but the set."""

BATCH = 16


def set_batch_statistics(
    backbone: nn.Module, cache: Cache, split: str | None, view: View, device: torch.device, workers: int
) -> None:
    """Give the batch norm of a backbone the statistics of the cache's training videos, where it has none of its own.

    From then on, in evaluation mode, the features of a clip depend on that clip alone. split: None means the first
    column; where it names no training videos with frames, all videos are taken. view: centre crops of natural windows.
    workers: processes that read. Raises UserError where there is no video, and where stored frames cannot be read.
    """
    layers = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm3d) and not m.track_running_stats]
    if not layers:
        return
    for layer in layers:
        layer.running_mean = torch.zeros(layer.num_features)
        layer.running_var = torch.ones(layer.num_features)
        layer.num_batches_tracked = torch.zeros((), dtype=torch.long)
        layer.track_running_stats, layer.momentum = True, None  # None takes the mean over all batches.
    backbone.to(device).train()
    crops = WindowCrops(view).to(device)
    with torch.no_grad(), autocast_of(device):
        for number, stored in enumerate(_batches(cache, _rows_to_measure(cache, split), view, workers)):
            backbone(crops(stored.to(device), number, 0))
    backbone.eval()


def _rows_to_measure(cache: Cache, split: str | None) -> np.ndarray:
    """Choose rows of the index, (MEASURED_VIDEOS,) or fewer, in an order that mixes classes."""
    stored, column = stored_rows(cache), split_column(cache, split)
    if column in cache.index:
        training = stored[(cache.index[column] == TRAIN).to_numpy()[stored]]
        stored = training if len(training) else stored
    return np.random.default_rng(0).permutation(stored)[:MEASURED_VIDEOS]


def _batches(cache: Cache, rows: np.ndarray, view: View, workers: int) -> Iterator[Tensor]:
    """Read the middle windows of videos, (n, T, H, W, 3) uint8, in batches of about equal size."""
    windows = StoredWindows(cache, rows, view)
    middle = (windows.offsets[rows] + windows.offsets[rows + 1]) // 2
    batches = [part.tolist() for part in np.array_split(middle, -(-len(middle) // BATCH))]
    return batches_of(data_loader(windows, workers, batch_sampler=batches))

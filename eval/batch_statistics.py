"""Statistics for batch norm that has none of its own (training.batch_statistics), measured on the training videos of a
cache.

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
from s2vc.training.batch_statistics import batches_to_measure, norms_without_statistics, set_statistics
from s2vc.training.choices import TRAIN
from s2vc.training.loader import batches_of, data_loader
from s2vc.training.selection import split_column


def set_batch_statistics(
    backbone: nn.Module, cache: Cache, split: str | None, view: View, device: torch.device, workers: int
) -> None:
    """Give the batch norm of a backbone the statistics of the cache's training videos, where it has none of its own.

    From then on, in evaluation mode, the features of a clip depend on that clip alone. split: None means the first
    column; where it names no training videos with frames, all videos are taken. view: centre crops, whose frames are
    in the order that the backbone learned from. workers: processes that read. Raises UserError where there is no video,
    and where stored frames cannot be read.
    """
    if not norms_without_statistics(backbone):
        return
    crops = WindowCrops(view).to(device)
    batches = _batches(cache, _training_rows(cache, split), view, workers)
    with autocast_of(device):
        set_statistics(
            backbone.to(device), (crops(stored.to(device), number, 0) for number, stored in enumerate(batches))
        )


def _training_rows(cache: Cache, split: str | None) -> np.ndarray:
    """Give the rows of the index with frames, (N,), that are trained on; all of them where none is."""
    stored, column = stored_rows(cache), split_column(cache, split)
    if column in cache.index:
        training = stored[(cache.index[column] == TRAIN).to_numpy()[stored]]
        stored = training if len(training) else stored
    return stored


def _batches(cache: Cache, rows: np.ndarray, view: View, workers: int) -> Iterator[Tensor]:
    """Read the middle windows of some of the videos, (n, T, H, W, 3) uint8, in the batches that are measured."""
    windows = StoredWindows(cache, rows, view)
    parts = batches_to_measure(rows)
    batches = [((windows.offsets[part] + windows.offsets[part + 1]) // 2).tolist() for part in parts]
    return batches_of(data_loader(windows, workers, batch_sampler=batches))

"""Features of training clips that are drawn anew in every epoch, as the paper's linear classifier sees them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from s2vc.eval.features import autocast_of
from s2vc.eval.probe import DrawEpoch, shuffled_batches
from s2vc.eval.view import StoredWindows, View, WindowCrops
from s2vc.pipeline.cache import Cache
from s2vc.training.loader import batches_of, data_loader


def redrawn_features(
    cache: Cache,
    rows: np.ndarray,
    targets: np.ndarray,
    backbone: nn.Module,
    view: View,
    batch: int,
    device: torch.device,
    workers: int,
) -> DrawEpoch:
    """Draw a window of each video, and a crop of it, anew in every epoch, which costs a pass of the backbone.

    rows, targets: of the index, (N,), and their classes. backbone: on the device, in evaluation mode. view: augmented;
    its seed is that of all draws. workers: processes that read. Drawing raises UserError for damaged frames.
    """
    windows, crops = StoredWindows(cache, rows, view), WindowCrops(view).to(device)
    first, counts = windows.offsets[rows], windows.offsets[rows + 1] - windows.offsets[rows]

    def draw(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([view.seed, epoch])
        parts = shuffled_batches(len(rows), batch, rng)
        items = first + rng.integers(counts)
        loader = data_loader(windows, workers, batch_sampler=[items[part].tolist() for part in parts])
        for number, (part, stored) in enumerate(zip(parts, batches_of(loader), strict=True)):
            clips = crops(stored.to(device), epoch * len(parts) + number, 0)
            with torch.no_grad(), autocast_of(device):
                features = backbone(clips).float().mean(dim=(2, 3, 4))
            yield features.cpu(), torch.from_numpy(targets[part])

    return draw

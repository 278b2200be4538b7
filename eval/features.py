"""Features of the windows of videos, computed once per checkpoint, cache and view, and kept."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from s2vc.eval.evaluated_backbone import block_entry
from s2vc.eval.view import StoredWindows, View, WindowCrops
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.layout import INGEST
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.hdf5 import read_array, read_dataset, write_shard
from s2vc.pipeline.storage.prefetch import prefetch
from s2vc.training.backbones.checkpoints import weights_hash
from s2vc.training.loader import batches_of, data_loader
from s2vc.training.precision import choose_training_precision

BATCH = 16
PART_BATCHES = 32
"""Features of so many batches are kept in a file while the others are computed."""
CHUNK_WINDOWS = 4
"""An HDF5 chunk has few windows, since a classifier reads single ones in random order."""


@dataclass(frozen=True)
class Features:
    """Reads the features of rows of a cache. Row i of its index has the windows offsets[i] to offsets[i + 1], V crops
    of each.
    The features (W, V, C) float32 are read by slices, so that memory does not grow with the set."""

    path: Path

    @property
    def offsets(self) -> np.ndarray:
        """Read where the windows of each row begin: (index rows + 1,) int64."""
        return read_array(self.path, "offsets")

    def windows_of(self, row: int) -> np.ndarray:
        """Read the windows of a row of the index, (windows, V, C) float32; none of a row that was not asked for."""
        start, stop = (int(n) for n in self.offsets[row : row + 2])
        return np.asarray(read_dataset(self.path, "features")[start:stop])

    def draw(self, row: int, rng: np.random.Generator) -> np.ndarray:
        """Read a crop of a window of a row, (C,) float32, drawn at random."""
        stored = read_dataset(self.path, "features")
        start, stop = (int(n) for n in self.offsets[row : row + 2])
        return np.asarray(stored[rng.integers(start, stop), rng.integers(stored.shape[1])])

    def video_means(self, rows: np.ndarray) -> np.ndarray:
        """Average over windows and crops of each video: (len(rows), C) float32. Each row must have frames."""
        means = np.empty((len(rows), read_dataset(self.path, "features").shape[2]), np.float32)
        for mean, row in zip(means, rows, strict=True):
            self.windows_of(int(row)).mean(axis=(0, 1), out=mean)
        return means


def precision_of(device: torch.device) -> str:
    """Name the precision that features are computed in on a device: on a GPU what `auto` means for training, bfloat16
    where it is multiplied in hardware and else float16; float32 on a CPU."""
    return choose_training_precision(device) if device.type == "cuda" else "float32"


def autocast_of(device: torch.device) -> AbstractContextManager[None]:
    """Give the context in which a device computes in `precision_of` it."""
    precision = precision_of(device)
    return nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))


def frames_hash(cache: Cache, rows: np.ndarray) -> str:
    """Hash which rows of the index are meant, (N,), and their stored frames by the receipts."""
    digest = hashlib.sha256(np.sort(rows).astype("<i8").tobytes())
    cache.storage.fetch_receipts(INGEST)
    for shard in np.unique(cache.index["shard"].to_numpy()[rows]):
        digest.update(cache.layout.receipt(INGEST, int(shard)).read_bytes())
    return digest.hexdigest()


def features_hash(cache: Cache, rows: np.ndarray, backbone: nn.Module, view: View, device: torch.device) -> str:
    """Hash everything that features depend on: the weights, other blocks than the usual, the rows, their frames, the
    view, the kind of device and its precision."""
    seen = {name: value for name, value in asdict(view).items() if value is not None}
    weights = weights_hash(backbone.state_dict())
    parts = [seen, frames_hash(cache, rows), weights, device.type, precision_of(device), *block_entry(backbone).items()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def extract_features(
    cache: Cache,
    rows: np.ndarray,
    backbone: nn.Module,
    view: View,
    folder: Path,
    device: torch.device,
    workers: int,
    show_progress: ShowProgress = no_progress,
) -> Features:
    """Give the features of rows of a cache under a backbone, computed where the folder does not hold them yet.

    backbone: put into evaluation mode here, and pooled over space and time. workers: processes that read.
    show_progress: called with the number of windows where there is work, gives what is called as it is done. Raises
    UserError where stored frames cannot be read.
    """
    path = folder / f"{features_hash(cache, rows, backbone, view, device)[:32]}.h5"
    if not path.exists():
        windows = StoredWindows(cache, rows, view)
        kept = _KeptBatches(path.with_suffix(".parts"))
        with show_progress(len(windows)) as advance:
            begin = min(kept.windows, len(windows))
            advance(0, 0, at=begin)
            for batch in embed_windows(windows, backbone.to(device).eval(), view, device, workers, begin):
                kept.add(batch)
                advance(len(batch), len(batch) * view.frames)
        row = (view.crop_count, int(backbone.feature_size))  # type: ignore[arg-type]
        with write_shard(path) as file:
            stored = file.growing("features", row, np.float32, CHUNK_WINDOWS)
            for part in kept.parts():
                stored.append(part)
            file.put("offsets", windows.offsets)
        kept.remove()
    return Features(path)


class _KeptBatches:
    """Keeps features on disk while they are computed, a file for every PART_BATCHES batches, so that whoever stops the
    work loses little."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._paths = sorted(folder.glob("*.npy"))
        self._waiting: list[np.ndarray] = []

    @property
    def windows(self) -> int:
        """Return how many windows were kept before: every file is full."""
        return len(self._paths) * PART_BATCHES * BATCH

    def add(self, batch: np.ndarray) -> None:
        self._waiting.append(batch)
        if len(self._waiting) == PART_BATCHES:
            path = self._folder / f"{len(self._paths):06d}.npy"
            with files.attempt(path) as aside, aside.open("wb") as file:
                np.save(file, np.concatenate(self._waiting))
            self._paths.append(path)
            self._waiting = []

    def parts(self) -> Iterator[np.ndarray]:
        """Yield all features in order: those of the files, and those that wait for one."""
        for path in self._paths:
            yield np.load(path)
        yield from self._waiting

    def remove(self) -> None:
        files.remove(self._folder)


@torch.no_grad()
def embed_windows(
    windows: StoredWindows, backbone: nn.Module, view: View, device: torch.device, workers: int, begin: int = 0
) -> Iterator[np.ndarray]:
    """Compute features (n, V, C) float32 of the windows from number `begin` on, a multiple of BATCH, in order, by
    batches. Raises UserError for damaged frames.

    workers: processes that read. In place of a single one on a CPU, which would share it with the computation, a thread
    reads: a process has to start, and to send what it has read.
    """
    crops = WindowCrops(view).to(device)
    rest = Subset(windows, range(begin, len(windows)))
    by_thread = workers == 1 and device.type == "cpu"
    loader = data_loader(rest, 0 if by_thread else workers, batch_size=BATCH, pin_memory=device.type == "cuda")
    batches = prefetch(batches_of(loader)) if by_thread else batches_of(loader)
    for batch, stored in enumerate(batches, begin // BATCH):
        frames = stored.to(device, non_blocking=True)
        crops_features = []
        for number in range(view.crop_count):
            clips = crops(frames, batch, number)
            with autocast_of(device):
                crops_features.append(backbone(clips).float().mean(dim=(2, 3, 4)))
        yield torch.stack(crops_features, dim=1).cpu().numpy()

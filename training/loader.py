"""Batches of clips for one process: which videos each step reads, and the workers that read them in advance."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from s2vc.manifests.errors import UserError
from s2vc.pipeline.processors import available_cpus
from s2vc.pipeline.storage.freed_memory import keep_freed_memory
from s2vc.training.clips import ClipDataset

MAX_LOADER_WORKERS = 8
BATCHES_READ_AHEAD = 4
"""So many batches wait in shared memory, or one for each worker where there are more: a batch of 128 pairs of 32 frames
of 128x171 has 590 MB."""

WORKER_TIMEOUT_SECONDS = 600
"""A loader worker that returns nothing for so long is stuck."""
SECONDS_AFTER_SIGTERM = 60
"""A worker that was asked to end does so after so long, if the process that it reads for has not ended it before. Slurm
and Kubernetes kill what is left after 30 s."""


class EpochBatches(Sampler[list[int]]):
    """Draws the videos that one process reads in each step of an epoch, by seed and epoch.

    All processes draw the same batches and take their part of each; videos that do not fill a batch are left for
    another epoch. `first_step` is the step to begin at, for a run that is resumed.

    shards: the shard of each video, (videos,). shards_at_hand: None permutes all videos. Otherwise shards are permuted,
    each process takes a run of them, and videos are shuffled over so many shards at a time, so that a shard is read for
    a while and then not again in this epoch.
    """

    def __init__(
        self,
        shards: np.ndarray,
        batch: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        shards_at_hand: int | None = None,
    ):
        self.videos, self.batch, self.seed = len(shards), batch, seed
        self.part = slice(rank * batch // processes, (rank + 1) * batch // processes)
        self.epoch = 0
        self.first_step = 0
        self._shards = np.unique(shards, return_inverse=True)[1]
        # The number is of all processes together, since what they have at hand lies in one local cache.
        self._shards_at_hand = max(shards_at_hand // processes, 1) if shards_at_hand else 0

    @property
    def steps(self) -> int:
        """Count the steps of a whole epoch."""
        return self.videos // self.batch

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        own = self._order_by_shards(rng) if self._shards_at_hand else self._order_over_all(rng)
        yield from own[self.first_step :].tolist()

    def _order_over_all(self, rng: np.random.Generator) -> np.ndarray:
        """Permute all videos: those of this process, (steps, its part of a batch)."""
        order = rng.permutation(self.videos)[: self.steps * self.batch]
        return order.reshape(self.steps, self.batch)[:, self.part]

    def _order_by_shards(self, rng: np.random.Generator) -> np.ndarray:
        """Do the same shard by shard: a video of the p-th shard comes at a random time from p to p + shards_at_hand."""
        place = rng.permutation(self._shards.max() + 1)[self._shards]
        time = place + self._shards_at_hand * rng.random(self.videos)
        by_shard = np.lexsort((time, place))
        own = by_shard[self.part.start * self.steps : self.part.stop * self.steps]
        return own[np.argsort(time[own])].reshape(self.steps, self.part.stop - self.part.start)


class ErrorsAsItems(Dataset):
    """Returns a dataset's UserErrors as items. One that is raised in a worker would arrive as a traceback."""

    def __init__(self, items: Any):
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Any:
        try:
            return self._items[item]
        except UserError as error:
            return error


def collate_or_error(items: list[Any]) -> Any:
    """Make a batch of the items of `ErrorsAsItems`, or give the first error among them."""
    errors = [item for item in items if isinstance(item, UserError)]
    return errors[0] if errors else default_collate(items)


def data_loader(items: Dataset, workers: int, **options: Any) -> DataLoader:
    """Build a loader of a dataset whose items may raise UserError; read it by `batches_of`.

    workers: processes that read; 0 reads in this one. options: more of DataLoader's own.
    """
    init = init_worker if workers else None
    return DataLoader(
        ErrorsAsItems(items), num_workers=workers, collate_fn=collate_or_error, worker_init_fn=init, **options
    )


def batches_of(loader: DataLoader) -> Iterator[Any]:
    """Yield the batches of a `data_loader`. Raises UserError for what an item raised, and where a worker is gone."""
    try:
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader" not in str(error):
            raise
        raise UserError(f"a process that reads clips is gone, killed or out of memory ({error})") from error


class Loader:
    """Loads the batches of one epoch after another onto a device, and measures the time spent waiting for them."""

    def __init__(self, clips: ClipDataset, batches: EpochBatches, device: torch.device, workers: int):
        self.batches = batches
        self.wait_seconds = 0.0
        """`epoch` has waited so long for batches since this was last set to 0."""
        self._clips, self._device = clips, device
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # The thread that pins memory would take some of the first GPU.
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._loader = data_loader(
            clips,
            workers,
            batch_sampler=batches,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            prefetch_factor=max(1, BATCHES_READ_AHEAD // workers) if workers else None,
            timeout=WORKER_TIMEOUT_SECONDS if workers else 0,
        )

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch from step `first_step` on. Raises UserError for clips that cannot be read."""
        self.batches.epoch, self.batches.first_step = epoch, first_step
        self._clips.set_epoch(epoch)
        before = time.perf_counter()
        for batch in batches_of(self._loader):
            self.wait_seconds += time.perf_counter() - before
            yield self._uploaded(batch)
            before = time.perf_counter()

    def _uploaded(self, batch: Any) -> Any:
        """Copy a batch to the device: to a GPU while it computes what was asked for before."""
        if self._copying is None:
            return _to_device(batch, self._device)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copying):
            batch = _to_device(batch, self._device)
        computing.wait_stream(self._copying)
        for part in _tensors(batch):
            part.record_stream(computing)  # Its memory is not given to another copy before it was used.
        return batch


def init_worker(number: int) -> None:
    """Leave signals to the process that trains; a worker whose parent is gone ends by itself.

    Whoever ends a job may send SIGTERM to all its processes at once, as `timeout` and Slurm do. The one that trains
    then ends its step and writes a checkpoint, for which it needs its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_AFTER_SIGTERM))
    keep_freed_memory()


def spare_cpus(processes: int = 1) -> int:
    """Count the CPUs of this machine that read for each of `processes` that train on it: those that do not train, 1 at
    least and MAX_LOADER_WORKERS at most."""
    return readers_on(available_cpus() // processes)


def readers_on(cpus: int) -> int:
    """Count the processes that read for one that computes, where both have so many CPUs: 1 at least and
    MAX_LOADER_WORKERS at most."""
    return max(1, min(MAX_LOADER_WORKERS, cpus - 1))


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    parts = [_to_device(part, device) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else parts


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Yield all tensors of a batch."""
    if isinstance(batch, Tensor):
        yield batch
        return
    for part in batch:
        yield from _tensors(part)

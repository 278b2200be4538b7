"""Batches of clips for one process: which videos each step reads, and the processes that read them ahead."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from manifests.errors import UserError
from training.clips import ClipSet

MAX_LOADER_WORKERS = 8
KEPT_BYTES = 128 << 20
"""Freed memory that a process keeps at most."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
START_SECONDS = 600
"""A loader worker that hands on nothing for so long is stuck."""


class EpochBatches(Sampler[list[int]]):
    """The videos of each step of an epoch that one process reads: a permutation by seed and epoch, cut into batches.

    All processes see the same permutation, each takes its part of every batch; what does not fill a batch is left for
    another epoch. `start` is the step to begin at, for a run that goes on.
    """

    def __init__(self, videos: int, batch: int, seed: int, rank: int = 0, processes: int = 1):
        self.videos, self.batch, self.seed = videos, batch, seed
        self.part = slice(rank * batch // processes, (rank + 1) * batch // processes)
        self.epoch = 0
        self.start = 0

    @property
    def steps(self) -> int:
        """Of a whole epoch."""
        return self.videos // self.batch

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.videos)
        for step in range(self.start, self.steps):
            yield order[step * self.batch : (step + 1) * self.batch][self.part].tolist()


class Telling(Dataset):
    """A dataset whose errors of the user's travel as items: raised in a worker they would arrive as a traceback."""

    def __init__(self, items: Any):
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Any:
        try:
            return self._items[item]
        except UserError as error:
            return error


def collate_told(items: list[Any]) -> Any:
    """A batch of the items of `Telling`, or the first error among them."""
    errors = [item for item in items if isinstance(item, UserError)]
    return errors[0] if errors else default_collate(items)


class Loader:
    """Epoch after epoch of batches, on a device, with the time spent waiting for them."""

    def __init__(self, clips: ClipSet, batches: EpochBatches, device: torch.device, workers: int):
        self.batches = batches
        self.waited = 0.0
        """Seconds that `epoch` waited for the readers, since it was last set to 0."""
        self._clips, self._device = clips, device
        self._loader: DataLoader[Any] = DataLoader(
            Telling(clips),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=collate_told,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            timeout=START_SECONDS if workers else 0,
            worker_init_fn=begin_worker if workers else None,
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from step `start` on. Raises UserError for clips that cannot be read."""
        self.batches.epoch, self.batches.start = epoch, start
        self._clips.set_epoch(epoch)
        before = time.perf_counter()
        batches = iter(self._loader)
        while (batch := self._next(batches)) is not None:
            self.waited += time.perf_counter() - before
            yield _to_device(batch, self._device)
            before = time.perf_counter()

    @staticmethod
    def _next(batches: Iterator[Any]) -> Any:
        try:
            batch = next(batches, None)
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            raise UserError(f"a process that reads clips is gone, killed or out of memory ({error})") from error
        if isinstance(batch, UserError):
            raise batch
        return batch


def begin_worker(number: int) -> None:
    """Signals are for the process that trains; a worker that it leaves behind ends by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let this process keep what it frees: a pair is megabytes, and to get them anew for each took a fifth of the time.

    Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES // 4)


def spare_cpus() -> int:
    """CPUs for reading, beside the one that trains."""
    return max(1, min(MAX_LOADER_WORKERS, len(os.sched_getaffinity(0)) - 1))


def _to_device(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    parts = [_to_device(part, device) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else parts

"""Stage two makes latents of a shard's small frames, by one pass of the flow over them, and the STDs of eq. 4."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.frames import read_small
from s2vc.pipeline.cache.latents import HISTOGRAM_BINS, HISTOGRAM_RANGE, write_latents
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout
from s2vc.pipeline.cache.receipts import Receipt, make_receipt, read_receipt
from s2vc.pipeline.cache.renderings import remove_stale_renderings
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.device import to_device
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.reporting import report_within
from s2vc.pipeline.stages.adaptive_batches import BATCH, AdaptiveBatches
from s2vc.pipeline.static_cues import RunningStd, standard_deviation
from s2vc.pipeline.storage.freed_memory import keep_freed_memory
from s2vc.pipeline.storage.prefetch import prefetch, write_behind
from s2vc.pipeline.windows import HISTOGRAM_WINDOW, WindowRule

STATISTICS_FRAMES = BATCH["cpu"]
"""Statistics take so many frames at a time at most: on a GPU, which encodes more at a time, they take less memory than
the flow."""


@lru_cache(maxsize=1)
def worker_flow(path: str, fingerprint: str, device: str, precision: str) -> Flow:
    """Return the flow of a cache, loaded once per worker process.

    PyTorch is set to one thread, so that bytes do not depend on the machine.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    return load_flow(path, device, precision)


def cache_flow(path: Path, settings: Settings, device: str) -> Flow:
    return worker_flow(str(path.resolve()), settings.flow_fingerprint, device, settings.precision)


def encode_shard(layout: Layout, settings: Settings, shard: int, device: str) -> Receipt:
    """Encode the stored small frames of a shard; it is safe to run again.

    Raises ValueError if the shard is not ingested.
    """
    ingested = read_receipt(layout, INGEST, shard)
    if ingested is None:
        raise ValueError(f"shard {shard} is not ingested")
    flow = cache_flow(layout.flow, settings, device)
    offsets = ingested.video_offsets
    small, path = layout.small(shard), layout.latents(shard)
    frames, videos = int(offsets[-1]), len(offsets) - 1
    std = np.zeros((videos, LATENTS), np.float32)
    histogram = np.zeros((videos, HISTOGRAM_BINS), np.int64)
    batches = AdaptiveBatches(flow.device)

    def images() -> Iterator[tuple[int, Tensor]]:
        for start in range(0, frames, batches.wanted):
            x = torch.from_numpy(read_small(small, start, min(start + batches.wanted, frames)))
            yield start, to_device(x, flow.device)

    with write_latents(path, frames, videos, settings.latents) as writer, write_behind() as submit:
        statistics = _Statistics(offsets, std, histogram)
        for start, x in prefetch(images()):
            z = batches.map(lambda part: flow.encode(as_images(part))[0], x)
            statistics.update(start, z)
            submit(writer.append, z.cpu().numpy())
            stop = start + len(x)
            report_within(int(np.searchsorted(offsets[1:], stop, side="right")), stop)
        submit(writer.finish, std, histogram)
    key = layout.key(small)
    inputs, notes = {key: ingested.files[key]}, batches.notes(ENCODE, shard)
    receipt = make_receipt(layout, ENCODE, shard, ingested.videos, inputs, [path], notes)
    # Renderings of replaced latents go before the receipt is there; else they would be read as if they belonged to
    # these.
    remove_stale_renderings(LocalStorage(layout.root), shard, receipt)
    return receipt.write(layout)


def as_images(small: Tensor) -> Tensor:
    """Turn small frames (n, 64, 64, 3) uint8 into the flow's input (n, 3, 64, 64) float32 in [0, 1], on one device."""
    images = small.permute(0, 3, 1, 2).float()
    # A GPU multiplies by the reciprocal of a number, which rounds otherwise than a CPU's division, but divides tensors.
    return images / images.new_full((), 255)


class _Statistics:
    """This computes STD and histogram of each video of a shard, from batches of z that run across the videos."""

    def __init__(self, offsets: np.ndarray, std: np.ndarray, histogram: np.ndarray):
        self._offsets, self._std, self._histogram = offsets, std, histogram
        self._video = -1
        self._running = RunningStd()
        self._clips = ClipHistogram(0)

    def update(self, start: int, z: Tensor) -> None:
        """Add z (n, 12288) float32 of the shard's frames from `start` on."""
        stop = start + len(z)
        first = int(np.searchsorted(self._offsets, start, side="right")) - 1
        last = int(np.searchsorted(self._offsets, stop, side="left"))
        for video in range(first, last):
            begin, end = (int(n) for n in self._offsets[video : video + 2])
            if begin == end:
                continue
            if video != self._video:
                self._video = video
                self._running, self._clips = RunningStd(), ClipHistogram(end - begin)
            # Deviations are taken in float64, of few frames at a time, whatever number went through the flow together.
            for part in z[max(begin, start) - start : min(end, stop) - start].split(STATISTICS_FRAMES):
                self._running.update(part)
                self._clips.update(part)
            if end <= stop:
                self._std[video] = self._running.value().cpu().numpy()
                self._histogram[video] = self._clips.counts


class ClipHistogram:
    """This counts STDs over a video's windows of 16 frames as its frames come in, except STDs of 4 and more.

    Counts stay on the device of the latents until they are asked for, since a GPU would be waited for each time.
    """

    def __init__(self, frames: int):
        self._counts = torch.zeros(HISTOGRAM_BINS + 1, dtype=torch.int64)  # The last counts what is beyond the range.
        self._windows = WindowRule("clip", HISTOGRAM_WINDOW).windows(frames)
        self._recent: Tensor | None = None
        self._first = 0

    @property
    def counts(self) -> np.ndarray:
        """Give what has been counted, (HISTOGRAM_BINS,) int64."""
        return self._counts[:-1].cpu().numpy()

    def update(self, z: Tensor) -> None:
        """Add the latents of the next frames, (n, D)."""
        self._counts = self._counts.to(z.device)
        recent = z if self._recent is None else torch.cat([self._recent, z])
        while self._windows and self._windows[0][-1] < self._first + len(recent):
            self._count(standard_deviation(_rows(recent, self._windows.pop(0) - self._first)))
        needed = int(self._windows[0][0]) if self._windows else self._first + len(recent)
        self._recent = recent[needed - self._first :].clone()
        self._first = needed

    def _count(self, std: Tensor) -> None:
        low, high = HISTOGRAM_RANGE
        bins = ((std - low) * (HISTOGRAM_BINS / (high - low))).long().clamp_(max=HISTOGRAM_BINS)
        self._counts.index_add_(0, bins, torch.ones_like(bins))


def _rows(z: Tensor, window: np.ndarray) -> Tensor:
    """Return rows of z by their numbers; those that follow one another, as nearly all do, without a copy of these."""
    first, last = int(window[0]), int(window[-1])
    if last - first + 1 == len(window):
        return z[first : last + 1]
    return z[torch.from_numpy(window).to(z.device)]

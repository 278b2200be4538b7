"""Stage three makes corrections of a shard's latents, for several variants in one pass over the latents."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from s2vc.pipeline.cache.corrections import WindowRecord, write_corrections
from s2vc.pipeline.cache.frames import read_small
from s2vc.pipeline.cache.latents import Group, read_latents, read_std_video
from s2vc.pipeline.cache.layout import ENCODE, Layout, motion_stage
from s2vc.pipeline.cache.receipts import Receipt, make_receipt, read_receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.device import to_device
from s2vc.pipeline.flow.architecture import IMAGE_SHAPE
from s2vc.pipeline.flow.model import Flow
from s2vc.pipeline.reporting import report_within
from s2vc.pipeline.stages.adaptive_batches import AdaptiveBatches
from s2vc.pipeline.stages.encode_shard import as_images, cache_flow
from s2vc.pipeline.static_cues import (
    RunningStd,
    alpha_to_keep,
    standard_deviation,
    suppressed_set,
    suppressor,
)
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.prefetch import prefetch
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

PIECE_FRAMES = 64
"""A window over a complete video is read in pieces of this many frames."""


@dataclass(frozen=True)
class Window:
    """This is a window to render.

    video, video_id: row and id of its video. number: its number in the video. frames: its frame numbers in the shard
    (L,).
    """

    video: int
    video_id: str
    number: int
    frames: np.ndarray


@dataclass(frozen=True)
class Piece:
    """A piece holds frames of a window, in order.

    first: whether the window begins with it. z: the cached latents (n, 12288) as float32. x: X' (n, 3, 64, 64) float32
    in [0, 1]. std, pixel_std: STDs over the complete window, of its latents and of X', (12288,) float32; pixel_std is
    for tfd only.
    """

    window: Window
    first: bool
    z: Tensor
    x: Tensor
    std: Tensor
    pixel_std: Tensor | None


class Sink(Protocol):
    """A sink takes rendered windows; see CorrectionWriter.add."""

    def add(self, record: WindowRecord, peak: float, changes: Iterator[np.ndarray]) -> None: ...


def render_shard(layout: Layout, settings: Settings, shard: int, variants: list[Variant], device: str) -> list[Receipt]:
    """Render variants of one window rule from a shard's cached latents; it is safe to run again.

    Returns a receipt for each variant. Raises ValueError if the shard is not encoded.
    """
    encoded = read_receipt(layout, ENCODE, shard)
    if encoded is None:
        raise ValueError(f"shard {shard} is not encoded")
    flow = cache_flow(layout.flow, settings, device)
    windows = shard_windows(encoded, variants[0].rule)
    paths = [layout.motion(v, shard) for v in variants]
    with ExitStack() as stack:
        sinks: list[Sink] = [stack.enter_context(write_corrections(path)) for path in paths]
        latents, small = layout.latents(shard), layout.small(shard)
        notes = render_windows(latents, small, shard, windows, variants, flow, sinks, paths[0].parent)
    receipts = [
        make_receipt(layout, motion_stage(v), shard, encoded.videos, encoded.files, [p], () if k else notes)
        for k, (v, p) in enumerate(zip(variants, paths, strict=True))
    ]
    return [receipt.write(layout) for receipt in receipts]


def shard_windows(encoded: Receipt, rule: WindowRule) -> list[Window]:
    """Return all windows of a shard, video by video."""
    return [
        Window(row, video.video_id, number, first + frames)
        for row, (video, first) in enumerate(zip(encoded.videos, encoded.video_offsets[:-1], strict=True))
        for number, frames in enumerate(rule.windows(video.frames))
    ]


def render_windows(
    latents: Group,
    small: Path,
    shard: int,
    windows: list[Window],
    variants: list[Variant],
    flow: Flow,
    sinks: list[Sink],
    scratch: Path,
) -> tuple[str, ...]:
    """Render windows of a shard, each variant into its sink; the latents are read once for all of them.

    latents, small: where the shard's latents and small frames are read. Returns what should be reported, see
    AdaptiveBatches.notes.
    """
    batches = AdaptiveBatches(flow.device)
    renderers = [_Renderer(v, flow, sink, batches, scratch) for v, sink in zip(variants, sinks, strict=True)]
    tfd = any(v.strategy == "tfd" for v in variants)
    begun, frames = set(), 0
    for piece in prefetch(_pieces(latents, small, windows, variants[0].rule, tfd, flow.device)):
        for renderer in renderers:
            renderer.take(piece)
        begun.add(piece.window.video)
        frames += len(piece.z) * len(renderers)
        report_within(len(begun) - 1, frames)
    for renderer in renderers:
        renderer.finish()
    return batches.notes("render", shard)


def _pieces(
    latents: Group, small: Path, windows: list[Window], rule: WindowRule, tfd: bool, device: torch.device
) -> Iterator[Piece]:
    """Yield the pieces of the windows, read from the cache in order; a window of scope `clip` is one piece."""
    std_video = read_std_video(latents) if rule.scope == "video" else None
    for window in windows:
        pixel_std = _pixel_std(small, window.frames).to(device) if tfd else None
        size = PIECE_FRAMES if rule.scope == "video" else len(window.frames)
        for start in range(0, len(window.frames), size):
            frames = window.frames[start : start + size]
            first, last = int(frames.min()), int(frames.max()) + 1
            z = to_device(torch.from_numpy(read_latents(latents, first, last)[frames - first]), device).float()
            x = as_images(to_device(torch.from_numpy(read_small(small, first, last)[frames - first]), device))
            cached = std_video[window.video] if std_video is not None else None
            std = standard_deviation(z) if cached is None else to_device(torch.from_numpy(cached), device)
            yield Piece(window, start == 0, z, x, std, pixel_std)


def _pixel_std(small: Path, frames: np.ndarray) -> Tensor:
    """Return the STD over a window of each value of X', (12288,) float32, which is read in pieces."""
    running = RunningStd()
    for start in range(0, len(frames), PIECE_FRAMES):
        part = frames[start : start + PIECE_FRAMES]
        first, last = int(part.min()), int(part.max()) + 1
        running.update(as_images(torch.from_numpy(read_small(small, first, last)[part - first])).flatten(1))
    return running.value()


class _Open:
    """This is a window that is being rendered: its changes wait in a spool until their largest modulus is known."""

    def __init__(self, record: WindowRecord, suppress: Callable[[Tensor], Tensor], untouched: bool, scratch: Path):
        self.record = record
        self.suppress = suppress
        self.untouched = untouched
        self.missing = len(record.frames)
        self._peak = 0.0
        self._spool = files.spool(scratch)

    def take(self, change: np.ndarray) -> None:
        """Add the next frames' changes, (n, 64, 64, 3) float32."""
        self._peak = max(self._peak, float(np.abs(change).max()))
        self._spool.write(change.tobytes())
        self.missing -= len(change)

    def deliver(self, sink: Sink) -> None:
        self._spool.seek(0)
        sink.add(self.record, self._peak, self._changes())
        self._spool.close()

    def _changes(self) -> Iterator[np.ndarray]:
        length = len(self.record.frames)
        for start in range(0, length, PIECE_FRAMES):
            shape = (min(PIECE_FRAMES, length - start), 64, 64, 3)
            if self.untouched:
                yield np.zeros(shape, np.float32)
            else:
                yield np.frombuffer(self._spool.read(int(np.prod(shape)) * 4), np.float32).reshape(shape)


class _Renderer:
    """This renders one variant: it suppresses, decodes in full batches across windows, and delivers them in order."""

    def __init__(self, variant: Variant, flow: Flow, sink: Sink, batches: AdaptiveBatches, scratch: Path):
        self._variant, self._flow, self._sink = variant, flow, sink
        self._batches, self._scratch = batches, scratch
        self._open: deque[_Open] = deque()
        self._waiting: list[tuple[_Open, Tensor, Tensor]] = []

    def take(self, piece: Piece) -> None:
        if piece.first:
            self._begin(piece)
        window = self._open[-1]
        if window.untouched:
            window.missing -= len(piece.x)
        elif self._variant.strategy == "tfd":
            x_p = window.suppress(piece.x.flatten(1)).view_as(piece.x)
            window.take(_channels_last(x_p - piece.x))
        else:
            self._waiting.append((window, window.suppress(piece.z), piece.x))
            if sum(len(x) for _, _, x in self._waiting) >= self._batches.wanted:
                self._decode()
        self._deliver()

    def finish(self) -> None:
        self._decode()
        self._deliver()

    def _begin(self, piece: Piece) -> None:
        """Choose what is suppressed in a window (eq. 4), from STDs over all of it."""
        variant, window = self._variant, piece.window
        std = piece.pixel_std if piece.pixel_std is not None and variant.strategy == "tfd" else piece.std
        alpha = variant.alpha if variant.alpha is not None else alpha_to_keep(std, variant.keep or 0.0)
        rng = window_rng(variant, window)
        suppressed = suppressed_set(std, alpha, variant.strategy, rng, variant.keep)
        kept = 1.0 - float(suppressed.double().mean())
        record = WindowRecord(window.video, window.frames, alpha, kept)
        # Encoding and decoding round; where nothing is suppressed, the change is 0 and not nearly 0.
        untouched = not bool(suppressed.any())
        self._open.append(_Open(record, suppressor(suppressed, variant.strategy, rng), untouched, self._scratch))

    def _decode(self) -> None:
        if not self._waiting:
            return
        owners, z_p, x = zip(*self._waiting, strict=True)
        self._waiting = []
        change = _channels_last(self._batches.map(self._flow.decode, torch.cat(z_p)) - torch.cat(x))
        for owner, part in zip(owners, np.split(change, np.cumsum([len(p) for p in x])[:-1]), strict=True):
            owner.take(part)

    def _deliver(self) -> None:
        # The last window may have more pieces to come; the ones before it are complete once decoded.
        while self._open and self._open[0].missing == 0:
            self._open.popleft().deliver(self._sink)


def window_rng(variant: Variant, window: Window) -> np.random.Generator:
    """Return a window's random generator: it is the same in every run, whatever shard or batch the window is in."""
    video = int.from_bytes(hashlib.sha256(window.video_id.encode()).digest()[:8], "little")
    return np.random.default_rng([variant.seed, variant.draw, video, window.number])


def _channels_last(images: Tensor) -> np.ndarray:
    assert images.shape[1:] == IMAGE_SHAPE
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()

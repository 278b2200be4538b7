"""Judge flows by what they are for: to suppress backgrounds, to preserve movers, and to be robust to compression."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from s2vc.pipeline.flow import LATENTS, Flow
from s2vc.pipeline.flow.architecture import IMAGE_SHAPE
from s2vc.pipeline.flow_fitting.compare_clips import CRFS, ComparisonClip
from s2vc.pipeline.stages.encode_shard import as_images
from s2vc.pipeline.static_cues import alpha_to_keep, standard_deviation, suppress, suppressed_set
from s2vc.pipeline.variants import EXAMPLE_ALPHAS
from s2vc.pipeline.windows import WindowRule

LENGTHS = (16, 32)
"""The share of latents kept is measured in windows of these many frames; everything else uses the first length."""

POINTS = {"alpha 0.5": ("alpha", 0.5), "keep 0.1": ("keep", 0.1)}
"""Flows are compared at these operating points: the paper's alpha, and the alpha that keeps a tenth of the latents
whatever the flow."""

NO_DRAWS = np.random.default_rng(0)
"""The strategy zero draws no random numbers, but its functions take a generator."""


@dataclass(frozen=True)
class Effect:
    """Holds what a flow does to movers and backgrounds at one operating point, in windows of 16 frames.

    mover, background: the share of the energy of each that is left, 1 for all of it; means over clips. stable: for each
    CRF, the intersection over union of the latents kept before and after re-compression.
    """

    mover: float
    background: float
    stable: dict[int, float]

    @property
    def contrast(self) -> float:
        """Return how many times as much of the movers as of the backgrounds is left."""
        return self.mover / self.background if self.background else math.inf


@dataclass(frozen=True)
class FlowReport:
    """Holds the figures of a flow in a comparison.

    gflop: arithmetic per frame in either direction. frames_per_second: speed of encoding on this machine. kept: share
    of latents kept by (alpha, window length), mean over the windows of the cache's clips. effects: by operating point.
    """

    name: str
    gflop: float
    frames_per_second: float
    kept: dict[tuple[float, int], float]
    effects: dict[str, Effect]


def report(
    name: str, flow: Flow, clips: Sequence[ComparisonClip], done: Callable[[int], None] = lambda n: None
) -> FlowReport:
    """Encode the clips with a flow and return its figures; done(n) is called when n more frames are encoded.

    The energy of a region of an image is its squared distance from f⁻¹(0), the image of all-zero latents, which is what
    remains of a frame whose latents are all suppressed. The share that is left is the energy of X_p over that of X', in
    the regions `ComparisonClip.mover` and `ComparisonClip.background`.
    """
    encoder = _Encoder(flow, done)
    stds: dict[int, list[Tensor]] = {length: [] for length in LENGTHS}
    pairs: dict[int, list[tuple[Tensor, Tensor]]] = {crf: [] for crf in CRFS}
    regions: dict[str, list[tuple[float, float]]] = {point: [] for point in POINTS}
    empty = as_frames(flow.decode(torch.zeros(1, LATENTS)))
    for clip in clips:
        z = encoder(clip.small)
        if clip.recompressed:
            std = {length: window_stds(z, length) for length in LENGTHS}
            for length in LENGTHS:
                stds[length].append(std[length])
            for crf, small in clip.recompressed.items():
                pairs[crf].append((std[LENGTHS[0]], window_stds(encoder(small), LENGTHS[0])))
        if clip.mover is not None and clip.background is not None:
            for point in POINTS:
                x_p = as_frames(flow.decode(suppressed(z, point)))
                regions[point].append(_energy_kept(clip.small, x_p, empty, clip.mover, clip.background))
    return FlowReport(
        name=name,
        gflop=gflop(flow),
        frames_per_second=encoder.frames / encoder.seconds,
        kept={(a, n): _share(torch.cat(stds[n]), a) for n in LENGTHS for a in EXAMPLE_ALPHAS},
        effects={point: _effect(regions[point], pairs, point) for point in POINTS},
    )


def _effect(
    energies: Sequence[tuple[float, float]], pairs: dict[int, list[tuple[Tensor, Tensor]]], point: str
) -> Effect:
    mover, background = np.mean(energies, axis=0).tolist()
    return Effect(mover, background, {crf: mask_iou(both, point) for crf, both in pairs.items()})


class _Encoder:
    """Encodes clips, and counts the frames and the seconds that this takes."""

    def __init__(self, flow: Flow, done: Callable[[int], None]):
        self._flow, self._done = flow, done
        self.frames, self.seconds = 0, 0.0
        flow.encode(torch.zeros(1, *IMAGE_SHAPE))  # the first call also prepares things, which is not timed

    def __call__(self, small: np.ndarray) -> Tensor:
        """Encode X' (T, 64, 64, 3) uint8; return its latents (T, 12288) float32 on the CPU."""
        x = as_images(torch.from_numpy(small))
        started = time.perf_counter()
        z = self._flow.encode(x)[0].cpu()  # copying to the CPU waits until a GPU has finished
        self.seconds += time.perf_counter() - started
        self.frames += len(x)
        self._done(len(x))
        return z


def windows(frames: int, length: int) -> list[np.ndarray]:
    """Return the frame numbers of the windows of a clip, by the default rule of scope clip."""
    return WindowRule("clip", length).windows(frames)


def window_stds(z: Tensor, length: int) -> Tensor:
    """Return the STD of latents (T, D) in each window of `length` frames: (W, D) float32."""
    return torch.stack([standard_deviation(z[torch.from_numpy(w)]) for w in windows(len(z), length)])


def threshold(std: Tensor, point: str) -> float:
    """Return the alpha of an operating point for a window with these STDs (D,)."""
    kind, value = POINTS[point]
    return value if kind == "alpha" else alpha_to_keep(std, value)


def static_latents(std: Tensor, point: str) -> Tensor:
    """Return which latents of a window with these STDs (D,) are suppressed at an operating point: (D,) bool."""
    kind, value = POINTS[point]
    return suppressed_set(std, threshold(std, point), "zero", NO_DRAWS, value if kind == "keep" else None)


def suppressed(z: Tensor, point: str) -> Tensor:
    """Return z_p of a clip's latents z (T, D), suppressed window by window, in windows of LENGTHS[0] frames.

    Where windows overlap, the later one decides.
    """
    z_p = z.clone()
    for window in map(torch.from_numpy, windows(len(z), LENGTHS[0])):
        static = static_latents(standard_deviation(z[window]), point)
        z_p[window] = suppress(z[window], static, "zero", NO_DRAWS)
    return z_p


def mask_iou(pairs: Sequence[tuple[Tensor, Tensor]], point: str) -> float:
    """Return the intersection over union of the latents kept at an operating point; NaN if none are kept.

    pairs: STDs (W, D) of the same windows before and after re-compression.
    """
    both = either = 0
    for before, after in pairs:
        for one, other in zip(before, after, strict=True):
            a, b = ~static_latents(one, point), ~static_latents(other, point)
            both, either = both + int((a & b).sum()), either + int((a | b).sum())
    return both / either if either else math.nan


def gflop(flow: Flow) -> float:
    """Return the arithmetic of encoding one frame in GFLOP, a multiply-add counted as two operations."""
    with FlopCounterMode(display=False) as counter:
        flow.encode(torch.zeros(1, *IMAGE_SHAPE))
    return counter.get_total_flops() / 1e9


def as_frames(x: Tensor) -> np.ndarray:
    """Return images (N, 3, 64, 64) in [0, 1] with their channels last: (N, 64, 64, 3) float32."""
    return x.cpu().permute(0, 2, 3, 1).numpy()


def _share(std: Tensor, alpha: float) -> float:
    """Return the share of STDs that are alpha or more, alpha rounded to float32 as they are."""
    return float((std >= float(np.float32(alpha))).double().mean())


def _energy_kept(
    small: np.ndarray, x_p: np.ndarray, empty: np.ndarray, mover: np.ndarray, background: np.ndarray
) -> tuple[float, float]:
    """Return the share of energy left of the mover and of the background of a clip, as defined in `report`."""
    before = np.square(small / np.float32(255) - empty).sum(axis=-1)
    after = np.square(x_p - empty).sum(axis=-1)
    still = np.broadcast_to(background, mover.shape)
    return tuple(float(after[region].sum() / before[region].sum()) for region in (mover, still))  # type: ignore[return-value]

"""Flows judged by what they are for: taking backgrounds away, leaving movers, and not being moved by a codec."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from s2vc.pipeline.flow import LATENTS, Flow
from s2vc.pipeline.flow.model import IMAGE_SHAPE
from s2vc.pipeline.flow_fitting.compare_clips import CRFS, ComparisonClip
from s2vc.pipeline.stages.encode_shard import as_images
from s2vc.pipeline.static_cues import alpha_to_keep, standard_deviation, suppress, suppressed_set
from s2vc.pipeline.windows import WindowRule

ALPHAS = (0.1, 0.3, 0.5, 0.8)
LENGTHS = (16, 32)
"""Frames of the windows in which shares are taken; everything else uses the first."""

POINTS = {"alpha 0.5": ("alpha", 0.5), "keep 0.1": ("keep", 0.1)}
"""Operating points: the paper's alpha, and an alpha that keeps the same share whatever the flow."""

NO_DRAWS = np.random.default_rng(0)
"""The strategy zero draws nothing."""


@dataclass(frozen=True)
class Effect:
    """At an operating point, in windows of 16. mover, background: energy kept of each, 1 is all; means over clips.
    stable: intersection over union of what is kept, before and after re-compression, by CRF."""

    mover: float
    background: float
    stable: dict[int, float]

    @property
    def contrast(self) -> float:
        """How many times as much of the movers as of the backgrounds is left."""
        return self.mover / self.background if self.background else math.inf


@dataclass(frozen=True)
class FlowReport:
    """kept: share of the latents by (alpha, window length), mean over the windows of the cache's clips. effects: by
    operating point. gflop: of a frame, each way. frames_per_second: of encoding, here."""

    name: str
    gflop: float
    frames_per_second: float
    kept: dict[tuple[float, int], float]
    effects: dict[str, Effect]


def report(
    name: str, flow: Flow, clips: Sequence[ComparisonClip], done: Callable[[int], None] = lambda n: None
) -> FlowReport:
    """Take a flow over the clips; done(n): n more frames are encoded.

    Energy of a region of X' is its squared distance from the image of all-zero latents, f⁻¹(0), which is where a frame
    goes whose latents are all suppressed; kept is that of X_p over that of X', regions being those of
    `ComparisonClip.mover` and `ComparisonClip.background`.
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
        kept={(a, n): _share(torch.cat(stds[n]), a) for n in LENGTHS for a in ALPHAS},
        effects={point: _effect(regions[point], pairs, point) for point in POINTS},
    )


def _effect(
    energies: Sequence[tuple[float, float]], pairs: dict[int, list[tuple[Tensor, Tensor]]], point: str
) -> Effect:
    mover, background = np.mean(energies, axis=0).tolist()
    return Effect(mover, background, {crf: mask_iou(both, point) for crf, both in pairs.items()})


class _Encoder:
    """Encodes clips and keeps the time."""

    def __init__(self, flow: Flow, done: Callable[[int], None]):
        self._flow, self._done = flow, done
        self.frames, self.seconds = 0, 0.0
        flow.encode(torch.zeros(1, *IMAGE_SHAPE))  # what is prepared at the first call is not counted

    def __call__(self, small: np.ndarray) -> Tensor:
        """Latents of X' (T, 64, 64, 3) uint8: (T, 12288) float32 on the CPU."""
        x = as_images(torch.from_numpy(small))
        started = time.perf_counter()
        z = self._flow.encode(x)[0].cpu()  # the copy waits for a GPU
        self.seconds += time.perf_counter() - started
        self.frames += len(x)
        self._done(len(x))
        return z


def windows(frames: int, length: int) -> list[np.ndarray]:
    """Windows without overlap, as scope clip has them."""
    return WindowRule("clip", length).windows(frames)


def window_stds(z: Tensor, length: int) -> Tensor:
    """STD of latents (T, D) in each window: (W, D) float32."""
    return torch.stack([standard_deviation(z[torch.from_numpy(w)]) for w in windows(len(z), length)])


def threshold(std: Tensor, point: str) -> float:
    """The alpha of an operating point for a window with these STDs (D,)."""
    kind, value = POINTS[point]
    return value if kind == "alpha" else alpha_to_keep(std, value)


def static_latents(std: Tensor, point: str) -> Tensor:
    """Which latents of a window are suppressed at an operating point: STD (D,) -> (D,) bool."""
    return suppressed_set(std, threshold(std, point), "zero", NO_DRAWS)


def suppressed(z: Tensor, point: str) -> Tensor:
    """z_p of a clip (T, D), window by window of the first of LENGTHS; where windows overlap, by the later one."""
    z_p = z.clone()
    for window in map(torch.from_numpy, windows(len(z), LENGTHS[0])):
        static = static_latents(standard_deviation(z[window]), point)
        z_p[window] = suppress(z[window], static, "zero", NO_DRAWS)
    return z_p


def mask_iou(pairs: Sequence[tuple[Tensor, Tensor]], point: str) -> float:
    """Intersection over union of what is kept at an operating point; pairs of STDs (W, D), of the same windows before
    and after. NaN where nothing is kept."""
    both = either = 0
    for before, after in pairs:
        for one, other in zip(before, after, strict=True):
            a, b = ~static_latents(one, point), ~static_latents(other, point)
            both, either = both + int((a & b).sum()), either + int((a | b).sum())
    return both / either if either else math.nan


def gflop(flow: Flow) -> float:
    """Arithmetic of encoding a frame, a multiply-add counted as two."""
    with FlopCounterMode(display=False) as counter:
        flow.encode(torch.zeros(1, *IMAGE_SHAPE))
    return counter.get_total_flops() / 1e9


def as_frames(x: Tensor) -> np.ndarray:
    """Images (N, 3, 64, 64) in [0, 1] -> (N, 64, 64, 3) float32."""
    return x.cpu().permute(0, 2, 3, 1).numpy()


def _share(std: Tensor, alpha: float) -> float:
    return float((std >= float(np.float32(alpha))).double().mean())


def _energy_kept(
    small: np.ndarray, x_p: np.ndarray, empty: np.ndarray, mover: np.ndarray, background: np.ndarray
) -> tuple[float, float]:
    before = np.square(small / np.float32(255) - empty).sum(axis=-1)
    after = np.square(x_p - empty).sum(axis=-1)
    still = np.broadcast_to(background, mover.shape)
    return tuple(float(after[region].sum() / before[region].sum()) for region in (mover, still))  # type: ignore[return-value]

"""Compute which share of the latents each alpha keeps, from the cached STDs and histograms alone."""

from dataclasses import dataclass

import numpy as np

from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.latents import HISTOGRAM_BINS, HISTOGRAM_RANGE, Group, read_std_clip_histogram, read_std_video
from s2vc.pipeline.cache.reader import Cache
from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import HISTOGRAM_WINDOW, WindowRule

ALPHA_GRID = np.round(np.arange(51) * 0.02, 2)
"""The shares are computed at these alphas: 0, 0.02, … 1."""

BINS = 50
"""So many of the alphas above lie in 1."""

WINDOWS = WindowRule("clip", HISTOGRAM_WINDOW)
"""The STDs of these windows are in the cached histograms."""

SCOPES = ("video", f"clip{HISTOGRAM_WINDOW}")

PAPER_SHARES = {0.5: {"UCF101": 0.227, "HMDB51": 0.223}, 0.8: {"UCF101": 0.065, "HMDB51": 0.057}}
"""The paper reports these shares, by alpha and data set."""


@dataclass(frozen=True)
class Curve:
    """Holds the share kept at ALPHA_GRID, 0 to 1: mean and percentiles 10 and 90 over videos of equal weight."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class KeptShares:
    """Collects the shares of videos, shard by shard; a video takes 400 bytes of memory."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {scope: [] for scope in SCOPES}

    def add(self, shares: tuple[np.ndarray, np.ndarray]) -> None:
        """Add the videos of a shard, as `shares_kept` gives them."""
        for part, kept in zip(self._parts.values(), shares, strict=True):
            part.append(kept)

    @property
    def videos(self) -> int:
        return sum(len(part) for part in self._parts[SCOPES[0]])

    def curves(self) -> dict[str, Curve]:
        """Return the curve of each of SCOPES; empty if there are no videos."""
        if not self.videos:
            return {}
        curves = {}
        for scope, parts in self._parts.items():
            kept = np.concatenate(parts)
            low, high = np.percentile(kept, (10, 90), axis=0)
            curves[scope] = Curve(kept.mean(axis=0, dtype=np.float64), low, high)
        return curves


def shares_kept(latents: Group, frames: np.ndarray, alphas: np.ndarray = ALPHA_GRID) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares kept at alphas of a shard's videos with frames, for each of SCOPES: (n, alphas) float32.

    frames: how many each video has, (V,).
    """
    there = frames > 0
    windows = np.array([WINDOWS.count(int(n)) for n in frames[there]], np.int64)
    of_video = kept_of_std(read_std_video(latents)[there], alphas)
    of_windows = kept_of_histogram(read_std_clip_histogram(latents)[there], windows, alphas)
    return of_video.astype(np.float32), of_windows.astype(np.float32)


def expected_share(cache: Cache, variant: Variant, at_most: int) -> float | None:
    """Return the share of the latents, 0 to 1, that a variant will keep, a mean over its windows; None where that does
    not follow from the cached STDs, which are those of whole videos and of windows of 16 frames.

    at_most: so many shards are read, evenly spaced. Raises UserError where one of them cannot be read.
    """
    if variant.keep is not None:
        return variant.keep
    if variant.rule not in (WindowRule(), WINDOWS) or variant.strategy == "reverse":
        return None
    by_windows = variant.rule == WINDOWS
    shards = [rows["frames"].to_numpy() for _, rows in cache.index.groupby("shard")]
    kept, weights = [], []
    for shard in range(0, len(shards), max(1, -(-len(shards) // at_most))):
        with damage_as_user_error(f"the STDs of shard {shard}", cache.storage):
            latents, alphas = cache.storage.latent_group(shard), np.array([variant.alpha])
            of_video, of_windows = shares_kept(latents, shards[shard], alphas)
        kept += (of_windows if by_windows else of_video)[:, 0].tolist()
        weights += [WINDOWS.count(int(n)) if by_windows else 1 for n in shards[shard] if n > 0]
    return float(np.average(kept, weights=weights)) if kept else None


def kept_of_std(std: np.ndarray, alphas: np.ndarray = ALPHA_GRID) -> np.ndarray:
    """Return the share of latents with STD >= alpha of each video: std (V, D) float32 -> (V, alphas).

    STDs are counted in bins of 0.02, since sorting them takes eight times as long. An alpha that is not exactly where a
    bin begins, in float32, is compared with each STD.
    """
    limits = alphas.astype(np.float32)
    bins, before = np.floor(limits * BINS), np.floor(np.nextafter(limits, np.float32(-1)) * BINS)
    compared = np.flatnonzero((bins != np.rint(alphas * BINS)) | (before != bins - 1))
    last, below = int(bins.max()) + 1, np.empty((len(std), len(alphas)), np.int64)
    for row, counts in zip(std, below, strict=True):
        # What is not a number is counted as kept, like what is beyond the last bin.
        numbers = np.fmax(np.fmin(row * np.float32(BINS), last), 0).astype(np.uint16)
        held = np.bincount(numbers, minlength=last + 1)
        counts[:] = (np.cumsum(held) - held)[bins.astype(np.int64)]
        counts[compared] = [np.count_nonzero(row < limit) for limit in limits[compared]]
    return 1 - below / std.shape[1]


def kept_of_histogram(histogram: np.ndarray, windows: np.ndarray, alphas: np.ndarray = ALPHA_GRID) -> np.ndarray:
    """Return the share of latents with STD >= alpha, mean over the windows of each video: (V, alphas).

    histogram: (V, 512) int64, counts of STDs. windows: (V,), the number of windows of each video. The share is exact
    at the edges of bins, which are multiples of 1/128, and interpolated linearly between them.
    """
    edges = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS + 1)
    below = np.pad(np.cumsum(histogram, axis=1), ((0, 0), (1, 0)))
    # STDs above the range are in no bin, so the total must not be summed from the histogram.
    share = below / (windows * LATENTS)[:, None]
    return 1 - np.reshape([np.interp(alphas, edges, row) for row in share], (len(share), len(alphas)))

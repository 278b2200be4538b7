"""Whether values over time within a video are normal: pixels, and latents given static factors (supplement, Fig. 5).

Eq. 3 says that a latent given a video's static factors is normal, shifted and scaled; so those with STD < alpha are
looked at. Each series, the values of one pixel or latent over the frames of a video, is standardised by its own mean
and sample STD (n - 1), so that pixels and latents of all scales are comparable; then

- mse: mean over BINS bins on [-RANGE, RANGE] of the squared difference between the histogram, as a density (counts
  over n times the width of a bin), and N(0, 1) averaged over the bin;
- published: Kolmogorov-Smirnov against N(0, 1), as in the paper. Mean and STD come from the values that are tested,
  which draws the distributions together: of normal series far fewer than LEVEL are rejected;
- lilliefors: the same distance, with its distribution for fitted mean and STD (Lilliefors 1967), by simulation.

Both tests take the frames of a video for independent, which they are not: slow changes are rejected though every
frame's distribution be normal.

Pixels have 8 bits, and latents are rounded where they are stored: by float16 hardly, by q8 to steps of 1/8. Either test
rejects a normal series whose STD is a few steps, since values that are rounded alike come together. So each series has
a control, independent normal numbers of its mean, STD and length, rounded as it is; and each, control or not, is tested
once more dithered: a uniform number within a step is added to each value, which takes rounding's part away where the
STD is a step or more. What is said of pixels and latents is said against their controls.
"""

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from s2vc.eval.videos import damage_reported
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.latents import STORED_AS, WRITE_FRAMES, read_steps
from s2vc.pipeline.cache.quantise import Q8
from s2vc.pipeline.flow.architecture import LATENTS

PIXELS, STATIC_LATENTS = "pixels", "latents"
CONTROLS = {PIXELS: "normal_pixels", STATIC_LATENTS: "normal_latents"}
KINDS = (PIXELS, CONTROLS[PIXELS], STATIC_LATENTS, CONTROLS[STATIC_LATENTS])
"""Each kind of series is followed by its control."""

SIGNIFICANCE = 0.05
"""The tests have this level of significance, as published."""

BINS, RANGE = 20, 4.0
EDGES = np.linspace(-RANGE, RANGE, BINS + 1)
NORMAL_DENSITY = np.diff(stats.norm.cdf(EDGES)) / np.diff(EDGES)

SIMULATIONS = 1999
"""A p-value of Lilliefors' test is counted in so many normal samples: its standard error at 0.05 is 0.005."""
SIMULATED_VALUES = 1 << 20
"""So many are held at a time, 8 MB."""

MIN_FRAMES = 16
"""Videos of fewer frames are not looked at: they have no shape to test."""


@dataclass(frozen=True)
class Rounding:
    """Tells how values were rounded when they were stored: to multiples of `step`, a number or one for each value (n,),
    or to a type of floating point; and between which bounds they were kept."""

    step: float | np.ndarray | np.dtype
    low: float = -np.inf
    high: float = np.inf

    def round(self, values: np.ndarray) -> np.ndarray:
        """Round values (n,) alike: (n,) float64."""
        if isinstance(self.step, np.dtype):
            return values.astype(self.step).astype(np.float64)
        return (np.rint(values / self.step) * self.step).clip(self.low, self.high)

    def dither(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add to rounded values (n,) uniform numbers between minus and plus half a step: (n,) float64."""
        step = np.spacing(np.abs(values).astype(self.step)) if isinstance(self.step, np.dtype) else self.step
        return values + rng.uniform(-0.5, 0.5, len(values)) * step


EIGHT_BITS = Rounding(1 / 255, 0, 1)


@dataclass(frozen=True)
class Series:
    """Holds a value of a video over its frames. place: number of the pixel value of X' or of the latent, 0 to 12287;
    of a control, that of the series it is the control of.

    values: (n,) float64; pixels in [0, 1]. dithered: the same with uniform numbers added within the step that they are
    rounded to.
    """

    kind: str
    video_id: str
    place: int
    values: np.ndarray
    dithered: np.ndarray

    @property
    def constant(self) -> bool:
        """Say whether it does not vary, so that there is no normal to fit."""
        return bool((self.values == self.values[0]).all())


@dataclass(frozen=True)
class NormalFit:
    """Describes a normal fitted to a series of n values, and how well it fits; p-values of both tests, 0 to 1."""

    n: int
    mean: float
    std: float
    mse: float
    published_p: float
    lilliefors_p: float

    @property
    def verdict(self) -> str:
        """Give the verdict of the published test: H0 (normal, not rejected) or H1."""
        return "H0" if self.published_p >= SIGNIFICANCE else "H1"


def standardise(values: np.ndarray) -> np.ndarray:
    """Subtract the mean and divide by the sample STD, along the last axis: (..., n) -> (..., n) float64."""
    values = np.asarray(values, np.float64)
    return (values - values.mean(-1, keepdims=True)) / values.std(-1, ddof=1, keepdims=True)


def ks_distance(standard: np.ndarray) -> np.ndarray:
    """Compute the Kolmogorov-Smirnov distance of each sample (..., n) from N(0, 1): (...,) float64."""
    n = standard.shape[-1]
    below = stats.norm.cdf(np.sort(standard, axis=-1))
    steps = np.arange(n + 1) / n
    return np.maximum(steps[1:] - below, below - steps[:-1]).max(axis=-1)


@cache
def lilliefors_distances(n: int, seed: int) -> np.ndarray:
    """Simulate the distances of SIMULATIONS standardised normal samples of n values: float64, ascending.

    They do not depend on mean and STD, so one simulation serves all series of a length. `scipy.stats.goodness_of_fit`
    would simulate the same for every series anew.
    """
    rng = np.random.default_rng([seed, n])
    step = max(1, SIMULATED_VALUES // n)
    sizes = [min(step, SIMULATIONS - first) for first in range(0, SIMULATIONS, step)]
    return np.sort(np.concatenate([ks_distance(standardise(rng.standard_normal((size, n)))) for size in sizes]))


def fit_normal(values: np.ndarray, seed: int) -> NormalFit:
    """Fit a normal to values (n,) that vary, and test it. seed: of the simulation for Lilliefors' test."""
    n, standard = len(values), standardise(values)
    found = float(ks_distance(standard))
    simulated = lilliefors_distances(n, seed)
    # The sample itself counts as one, so that no p-value is 0 (Davison and Hinkley 1997, 4.2.1).
    beyond = len(simulated) - int(np.searchsorted(simulated, found))
    density = np.histogram(standard, EDGES)[0] / (n * np.diff(EDGES))
    return NormalFit(
        n,
        float(np.mean(values)),
        float(np.std(values, ddof=1)),
        float(np.mean((density - NORMAL_DENSITY) ** 2)),
        float(stats.kstwo.sf(found, n)),
        (1 + beyond) / (1 + len(simulated)),
    )


def draw_series(cache: Cache, row: int, dims: int, alpha: float, seed: int) -> list[Series]:
    """Draw `dims` pixel values of X' of a video, as many of its latents with STD < alpha (all, where there are fewer),
    and the control of each, by seed and row. Raises UserError where they cannot be read."""
    video, frames = str(cache.index["video_id"].iloc[row]), int(cache.index["frames"].iloc[row])
    rng = np.random.default_rng([seed, row])
    with damage_reported(cache, video):
        static = np.flatnonzero(cache.std(video) < np.float32(alpha))
        pixels = np.sort(rng.choice(LATENTS, dims, replace=False))
        latents = np.sort(rng.choice(static, min(dims, len(static)), replace=False))
        # They are read in pieces, so that memory does not grow with the length of a video.
        starts = range(0, frames, WRITE_FRAMES)
        ends = [min(start + WRITE_FRAMES, frames) for start in starts]
        pieces = list(zip(starts, ends, strict=True))
        small = [cache.small(video, *piece).reshape(-1, LATENTS)[:, pixels] / 255 for piece in pieces]
        z = [cache.latents(video, *piece)[:, latents].astype(np.float64) for piece in pieces]
        rounding = latent_rounding(cache, row)
    found = []
    for kind, places, values, rounded in (
        (PIXELS, pixels, np.concatenate(small), EIGHT_BITS),
        (STATIC_LATENTS, latents, np.concatenate(z), rounding),
    ):
        for place, series in zip(places, values.T, strict=True):
            control = rounded.round(rng.normal(series.mean(), series.std(ddof=1), frames))
            for name, own in ((kind, series), (CONTROLS[kind], control)):
                found.append(Series(name, video, int(place), own, rounded.dither(own, rng)))
    return found


def latent_rounding(cache: Cache, row: int) -> Rounding:
    """Tell how the latents of a row of the index are rounded where they are stored."""
    if cache.settings.latents != Q8:
        return Rounding(np.dtype(STORED_AS[cache.settings.latents]))
    shard, first, frames = (int(cache.index[name].iloc[row]) for name in ("shard", "first_frame", "frames"))
    steps = read_steps(cache.storage.latent_group(shard))[first : first + frames]
    return Rounding(steps.astype(np.float64))


@dataclass
class NormalityResult:
    """Gathers what was found of all series of a kind: fits to them and to what they are dithered, how many series are
    constant, the counts of all standardised values in the bins, and a record of each series for the result's JSON."""

    fits: list[NormalFit] = field(default_factory=list)
    dithered: list[NormalFit] = field(default_factory=list)
    constant: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    records: list[dict[str, Any]] = field(default_factory=list)

    def add(self, series: Series, seed: int) -> NormalFit | None:
        """Test a series; one that is constant is counted, and has no fit (None)."""
        record = {"video_id": series.video_id, "place": series.place}
        if series.constant:
            self.constant += 1
            self.records.append({**record, "constant": True})
            return None
        fit, dithered = fit_normal(series.values, seed), fit_normal(series.dithered, seed)
        self.fits.append(fit)
        self.dithered.append(dithered)
        self.counts += np.histogram(standardise(series.values), EDGES)[0]
        more = {"dithered_mse": dithered.mse, "dithered_lilliefors_p": dithered.lilliefors_p}
        self.records.append({**record, **asdict(fit), **more})
        return fit

    @property
    def values(self) -> int:
        """Count the values of all series that vary."""
        return sum(fit.n for fit in self.fits)

    @property
    def numbers(self) -> dict[str, float]:
        """Count the series and the constant ones; of the others, give the mean MSE and the share that each test
        accepts, as they are and dithered."""
        counted: dict[str, float] = {"series": len(self.fits) + self.constant, "constant": self.constant}
        for prefix, fits in (("", self.fits), ("dithered_", self.dithered)):
            if fits:
                counted |= {
                    f"{prefix}mse": float(np.mean([fit.mse for fit in fits])),
                    f"{prefix}published_h0": float(np.mean([fit.published_p >= SIGNIFICANCE for fit in fits])),
                    f"{prefix}lilliefors_h0": float(np.mean([fit.lilliefors_p >= SIGNIFICANCE for fit in fits])),
                }
        return counted

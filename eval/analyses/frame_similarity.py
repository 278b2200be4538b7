"""How alike frames are in the latent space, before and after static cues are suppressed (paper, Fig. 4; supplement,
Figs. 2 and 3).

Each pair of frames has the cosine of z, of z_p (latents with STD < alpha zeroed, eq. 4) and of a control, in which as
many latents of each video are zeroed at random: a fall that the control shows as well is one of sparser vectors, not of
static cues that are gone. The STD is taken over the whole video, scope `video`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from s2vc.eval.videos import damage_reported
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.reporting import Advance
from s2vc.pipeline.static_cues import suppressed_set
from s2vc.pipeline.storage.figures import save_figure
from s2vc.training.choices import LABEL
from s2vc.training.labels import read_labels

INTRA_CLASS, INTRA_VIDEO, INTER_CLASS = COMPARISONS = ("intra-class", "intra-video", "inter-class")
MEANING = {
    INTRA_CLASS: "frames of two videos of a class",
    INTRA_VIDEO: "adjacent frames of a video",
    INTER_CLASS: "frames of videos of two classes",
}

VECTORS = ("z", "z_p", "control")
"""These are compared of each pair, in the order of all arrays here."""
VECTOR_LABELS = ("Z", "Z$_p$, static latents zeroed", "as many at random zeroed")

ALL_VIDEOS = "all videos"
"""This is the only group where there are no labels."""

MAX_CACHED_MASKS = 2048
"""The masks of so many videos are kept at a time, 25 kB each."""


class Pair(NamedTuple):
    """Holds two frames, each given by a row of the index and its number in the video. group: the class of the first."""

    comparison: str
    group: str
    a: tuple[int, int]
    b: tuple[int, int]


@dataclass(frozen=True)
class VideoGroups:
    """Holds videos by class, as rows of the index with latents, (n,) int64 each, and the frames of all rows."""

    rows: dict[str, np.ndarray]
    frames: np.ndarray


def choose_groups(cache: Cache, rows: np.ndarray, classes: int, seed: int, label: str = LABEL) -> VideoGroups:
    """Choose the videos of `classes` classes at random (all, where there are fewer), in the order of their names.

    Classes of two videos or more are taken before others, which have no intra-class pair. Without labels all videos are
    one group, ALL_VIDEOS. label: the column of the classes. Raises UserError where only some videos have one.
    """
    names = read_labels(cache, label).names[rows]
    frames = cache.index["frames"].to_numpy()
    if (names == "").all():
        return VideoGroups({ALL_VIDEOS: rows}, frames)
    if (names == "").any():
        first = cache.index["video_id"].iloc[rows[int((names == "").argmax())]]
        raise UserError(f"{int((names == '').sum())} of {len(rows)} videos have no {label}, first {first}")
    known, counts = np.unique(names.astype(str), return_counts=True)
    order = np.random.default_rng([seed, 0]).permutation(len(known))
    order = order[np.argsort(counts[order] < 2, kind="stable")]
    return VideoGroups({str(name): rows[names == name] for name in sorted(known[order[:classes]])}, frames)


def undefined_comparisons(groups: VideoGroups) -> dict[str, str]:
    """Name the comparisons that cannot be made with these groups, and why."""
    if ALL_VIDEOS in groups.rows:
        return dict.fromkeys((INTRA_CLASS, INTER_CLASS), "no video has a label")
    reasons = {}
    if len(groups.rows) == 1:
        reasons[INTER_CLASS] = "there is one class only"
    if all(len(rows) < 2 for rows in groups.rows.values()):
        reasons[INTRA_CLASS] = "no class has two videos"
    return reasons


def draw_pairs(groups: VideoGroups, comparison: str, count: int, seed: int) -> list[Pair]:
    """Draw `count` pairs of frames of each group, with replacement; none of a group that has none to give.

    intra-class: of two different videos of the class. intra-video: adjacent ones of a video of the class. inter-class:
    the first of a video of the class, the other of a video of another class among the groups, each as likely.
    """
    rng = np.random.default_rng([seed, 1 + COMPARISONS.index(comparison)])
    pairs = []
    for group, rows in groups.rows.items():
        others = [name for name in groups.rows if name != group]
        long = rows[groups.frames[rows] >= 2]
        if not {INTRA_CLASS: len(rows) >= 2, INTRA_VIDEO: len(long) > 0, INTER_CLASS: others}[comparison]:
            continue
        for _ in range(count):
            if comparison == INTRA_VIDEO:
                row = int(rng.choice(long))
                frame = int(rng.integers(groups.frames[row] - 1))
                pairs.append(Pair(comparison, group, (row, frame), (row, frame + 1)))
                continue
            if comparison == INTRA_CLASS:
                first, second = rng.choice(rows, 2, replace=False)
            else:
                first, second = rng.choice(rows), rng.choice(groups.rows[others[rng.integers(len(others))]])
            a, b = ((int(row), int(rng.integers(groups.frames[row]))) for row in (first, second))
            pairs.append(Pair(comparison, group, a, b))
    return pairs


class FrameVectors:
    """Reads the vectors of frames of a cache: z, z_p at an alpha, and the control, drawn once per video, by seed."""

    def __init__(self, cache: Cache, alpha: float, seed: int):
        self._cache, self._alpha, self._seed = cache, alpha, seed
        self._ids = cache.index["video_id"].to_numpy()
        self.masks = lru_cache(MAX_CACHED_MASKS)(self._masks)

    def _masks(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Tell which latents of a video z_p and the control keep: (12288,) bool each, with equally many kept."""
        video = str(self._ids[row])
        with damage_reported(self._cache, video):
            std = torch.from_numpy(self._cache.std(video))
        rng = np.random.default_rng([self._seed, row])
        static, drawn = (suppressed_set(std, self._alpha, strategy, rng) for strategy in ("zero", "random"))
        return (~static).numpy(), (~drawn).numpy()

    def of_frame(self, row_and_frame: tuple[int, int]) -> np.ndarray:
        """Read z, z_p and the control of a frame: (3, 12288) float32."""
        row, frame = row_and_frame
        video = str(self._ids[row])
        with damage_reported(self._cache, video):
            z = self._cache.latents(video, frame, frame + 1)[0].astype(np.float32)
        kept, drawn = self.masks(row)
        return np.stack([z, z * kept, z * drawn])

    def mean_kept(self, pairs: Sequence[Pair]) -> float:
        """Average the share of the latents that z_p keeps, 0 to 1, over the videos of some pairs."""
        rows = {row for pair in pairs for row, _ in (pair.a, pair.b)}
        return float(np.mean([self.masks(row)[0].mean() for row in sorted(rows)]))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the cosine of each row of a (N, D) with that of b (N, D): (N,) float64; NaN where one is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=1) / lengths


def pair_cosines(vectors: FrameVectors, pairs: Sequence[Pair], advance: Advance) -> np.ndarray:
    """Compute the cosines of z, z_p and the control of each pair: (N, 3) float64.

    A pair with a vector of which nothing is kept has no cosine of z_p: it is NaN in all three, so that their means are
    over the same pairs.
    """
    found = np.empty((len(pairs), len(VECTORS)))
    for number, pair in enumerate(pairs):
        found[number] = cosines(vectors.of_frame(pair.a), vectors.of_frame(pair.b))
        advance(1, 2)
    found[np.isnan(found).any(axis=1)] = np.nan
    return found


def group_means(pairs: Sequence[Pair], found: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Average the cosines of z, z_p and the control, for each comparison there are pairs of and each group in it.

    found: (N, 3) as `pair_cosines` gives it; undefined pairs are left out, and groups that have no others.
    """
    means: dict[str, dict[str, list[float]]] = {}
    for comparison, group in dict.fromkeys((pair.comparison, pair.group) for pair in pairs):
        chosen = np.array([pair[:2] == (comparison, group) for pair in pairs]) & ~np.isnan(found[:, 0])
        if chosen.any():
            means.setdefault(comparison, {})[group] = found[chosen].mean(axis=0).tolist()
    return means


def mean_over_groups(means: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Average over groups of equal weight, by name: intra_class_z, intra_class_z_p, intra_class_control, and so on."""
    return {
        f"{comparison.replace('-', '_')}_{vector}": float(np.mean([values[k] for values in groups.values()]))
        for comparison, groups in means.items()
        for k, vector in enumerate(VECTORS)
    }


def plot_similarity(means: dict[str, dict[str, list[float]]], title: str, path: Path) -> None:
    """Plot bars of z, z_p and the control for each group, a panel for each comparison, as a PNG (Fig. 4)."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(group for of in means.values() for group in of))
    figure = Figure(figsize=(max(6.5, 1.5 + 0.85 * len(groups)), 0.9 + 2.3 * len(means)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(means), 1, sharex=True))
    for axes, (comparison, of) in zip(panels, means.items(), strict=True):
        for k, (label, colour) in enumerate(zip(VECTOR_LABELS, ("C0", "C3", "0.7"), strict=True)):
            heights = [of[group][k] if group in of else np.nan for group in groups]
            axes.bar(np.arange(len(groups)) + 0.27 * (k - 1), heights, 0.25, label=label, color=colour)
        # Each panel has its own scale: the values of adjacent frames are many times the others.
        axes.set_title(f"{comparison}: {MEANING[comparison]}", fontsize=10)
        axes.set_ylabel("cosine similarity")
        axes.axhline(0, color="0.3", linewidth=0.8)
        axes.grid(axis="y", alpha=0.3)
    slanted = max(map(len, groups)) > 12 or len(groups) > 12
    panels[-1].set_xticks(range(len(groups)), groups, **({"rotation": 30, "ha": "right"} if slanted else {}))
    figure.suptitle(title, fontsize=11)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(VECTORS))
    save_figure(figure, path)

"""Provide the two sets of real clips that methods are compared on: their labels, folds, and what files alone tell."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule
from tests.benchmarks.measure import SHARED, run_prep

SPLITS = ("split1", "split2")
FRAMES = 8


@dataclass(frozen=True)
class RealActions:
    """Describes a set of clips of ../shared/data, which two folds divide: training is on one, the test on the other.

    folder: of the clips and of their table. fold: tells each clip's fold, 1 or 2, from the table. group: tells
    the recording that each clip was cut from; no recording is in both folds. step: from one frame of a training clip to
    the next. batch: clips of a training step. metadata: columns that need no pixel.
    """

    folder: str
    fold: Callable[[pd.DataFrame], pd.Series]
    group: Callable[[pd.DataFrame], pd.Series]
    step: int
    batch: int
    metadata: tuple[str, ...]

    @property
    def clips(self) -> pd.DataFrame:
        """Return the table, with fold and group, by path."""
        clips = pd.read_csv(SHARED / self.folder / "clips.csv")
        return clips.assign(fold=self.fold(clips), group=self.group(clips)).set_index("path", drop=False)

    @property
    def variant(self) -> Variant:
        """Return the variant that S²VC takes its keys from."""
        return Variant(alpha=0.5, rule=WindowRule("clip", FRAMES, self.step))

    def make_cache(self, folder: Path, given: Path | None) -> Path:
        """Make a cache of the clips with both splits and render the variant; a cache that is given is completed."""
        clips = self.clips
        names = clips["path"].str.split("/").str[0]
        columns = {"video_id": clips["path"], "label": clips["label"], "class_name": names}
        splits = {
            split: np.where(clips["fold"] == train, "train", "test")
            for split, train in zip(SPLITS, (1, 2), strict=True)
        }
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns | splits).to_csv(folder / "manifest.csv", index=False)
        cache = given or folder / "cache"
        run_prep("encode", folder / "manifest.csv", "--root", SHARED / self.folder, "--out", cache)
        rule = ("--scope", "clip", "--clip-length", FRAMES, "--frame-step", self.step)
        run_prep("render", cache, "--alpha", 0.5, *rule)
        return cache

    def metadata_baseline(self) -> pd.Series:
        """Return, by video, whether the nearest neighbour in the other fold has its class, 0 or 1.

        Distances are in the metadata, standardised by the other fold.
        """
        clips, right = self.clips, {}
        for train in (1, 2):
            known, asked = clips[clips["fold"] == train], clips[clips["fold"] != train]
            mean, std = known[[*self.metadata]].mean(), known[[*self.metadata]].std()
            a, b = (((part[[*self.metadata]] - mean) / std).to_numpy() for part in (asked, known))
            nearest = ((a[:, None] - b[None]) ** 2).sum(axis=2).argmin(axis=1)
            same = known["label"].to_numpy()[nearest] == asked["label"]
            right |= dict(zip(asked["path"], same.astype(float), strict=True))
        return pd.Series(right)


def halves(groups: pd.Series) -> pd.Series:
    """Return a fold, 1 or 2, for each clip: each group, the largest first, goes to the fold with fewer clips."""
    counts = [0, 0]
    folds = {}
    for group, count in groups.value_counts().sort_index().sort_values(ascending=False, kind="stable").items():
        fold = int(counts[1] < counts[0])
        folds[group] = fold + 1
        counts[fold] += count
    return groups.map(folds)


INTERACTION = RealActions(
    "interaction",
    fold=lambda clips: clips["set"],
    group=lambda clips: clips["set"].astype(str) + "-" + clips["sequence"].astype(str),
    step=6,
    batch=30,
    metadata=("width", "height", "frames"),
)
"""120 clips of 6 actions of two persons; the folds are its own two sets."""

STREET = RealActions(
    "street",
    fold=lambda clips: halves(clips["source"]),
    group=lambda clips: clips["source"],
    step=4,
    batch=20,
    metadata=("width", "height", "frames", "fps"),
)
"""80 clips of streets, with a fight or without."""

REAL_ACTIONS = {actions.folder: actions for actions in (INTERACTION, STREET)}

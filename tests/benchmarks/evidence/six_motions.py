"""Ask the study's first questions of the demo's videos, too, whose six motions are faster and go further.

On the controlled set, supervised training learns little more than one motion of twelve in as many steps as the study
has. This set tells how the methods compare where more is learned. Places and sizes of its toys are not balanced as
those of the controlled set are, so that a frame alone tells something of the motion. How much is printed first, and
features are asked for motions of still clips, too.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from s2vc.manifests.sample import SAMPLE_CLASSES, SPLITS, draw_sample
from s2vc.manifests.table import build_table, read_manifest, record_root, write_manifest
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.demo.drawn_videos import DrawnFolder
from s2vc.pipeline.storage import files
from tests.benchmarks.evidence.arms import BOTH, Arm, preserved
from tests.benchmarks.evidence.intervals import Interval, interval
from tests.benchmarks.evidence.pictures import plot_alphas, plot_bars
from tests.benchmarks.evidence.report import drawn_over, gain_over, motions_table, outcomes, spoken
from tests.benchmarks.evidence.runs import Study
from tests.benchmarks.evidence.table import ROWS, Measure, Row, add_rows, missing_measures, read_rows
from tests.benchmarks.measure import machine
from tests.support.classifiers import linear_discriminant

SIX_ROWS = ROWS.with_name("six-motions.csv")
SIZE = (96, 128)
SEEDS = 2
MOCO = Arm("MoCo", "moco", BOTH)
ARMS = (
    Arm("random weights", "random"),
    MOCO,
    preserved(alpha=0.1),
    preserved(alpha=0.3),
    preserved(alpha=0.5),
    preserved(alpha=0.7),
    preserved(alpha=0.9),
    preserved("random", keep=0.1),
    preserved(keep=0.1),
    preserved("reverse", keep=0.1),
    preserved("tfd", keep=0.1),
    preserved("shuffle-clip", keep=0.1),
)
"""All that train are symmetric. What was expected of them is in arms.PREDICTIONS."""

CORE = (ARMS[0], MOCO, preserved(alpha=0.5))
ASKED = {
    "R@1": Measure("retrieval", "neutral", "motion"),
    "R@1, still clips": Measure("retrieval --order still", "neutral", "motion"),
    "linear": Measure("linear", "neutral", "motion"),
    "order of frames": Measure("order", "neutral", "order"),
}

CHANCE = 1 / len(SAMPLE_CLASSES)
SYMMETRIC = ", symmetric"

COLOURS = {"R@1": "#c2410c", "R@1, still clips": "#94a3b8"}
"""These are plotted."""


@dataclass(frozen=True)
class SixMotions(Study):
    """Describes the same study on the demo's videos."""

    motions: ClassVar[int] = len(SAMPLE_CLASSES)

    @property
    def name(self) -> str:
        return f"six{self.per_class}"

    def draw(self) -> None:
        folder = DrawnFolder(self.videos)
        if folder.manifest.exists():
            return
        rows = []
        per_class = self.per_class * len(SPLITS) // SPLITS.count("train")  # Of five videos three are for training.
        with progress("draw", per_class * self.motions, "videos", make_console()) as advance:
            for video in draw_sample(per_class, self.frames, SIZE):
                if not folder.has(video.video_id):
                    folder.write(video.video_id, video.frames, video.masks)
                rows.append((video.video_id, str(video.label), video.class_name, video.split))
                advance(1, self.frames)
        columns = ("video_id", "label", "class_name", "split_neutral")
        record_root(folder.manifest, folder.videos)
        write_manifest(build_table(dict(zip(columns, zip(*rows, strict=True), strict=True))), folder.manifest)


def study_of_six(work: Path, short: bool) -> SixMotions:
    """Describe the study on 1,200 videos, or the short one on 720 shorter ones, which is done in half an hour."""
    train, test, frames, epochs = (72, 48, 24, 22) if short else (120, 80, 36, 16)
    return SixMotions(work, 0.0, train, test, ("neutral",), frames, epochs, machine())


def run_six(work: Path, short: bool, out_of_time: Callable[[], bool]) -> None:
    """Do the runs that have no rows yet, and print the report. The short study has one seed, asks for neighbours alone,
    and keeps its rows in its folder."""
    study, rows = study_of_six(work, short), work / SIX_ROWS.name if short else SIX_ROWS
    if short:
        print(f"two trainings of {study.steps} steps: about 28 minutes on two cores, and 2 GB in WORK", flush=True)
    study.draw()
    alone = frame_alone(DrawnFolder(study.videos))
    todo = [
        (arm, seed, missing)
        for arm, seed in planned(short)
        if (missing := missing_measures(asked_of(arm, short), arm.name, study.shift, seed, rows))
    ]
    for number, (arm, seed, missing) in enumerate(todo, 1):
        if out_of_time():
            break
        print(f"run {number} of {len(todo)}: {shown_name(arm.name)}, seed {seed}", flush=True)
        study.prepare(arm)
        add_rows(study.run(arm, seed, missing), rows)
        report(rows, alone)
    print(report(rows, alone))
    print(f"{rows.with_suffix('.md')} is this report, with {rows.with_suffix('.png').name} and {rows.name} beside it")


def planned(short: bool) -> list[tuple[Arm, int]]:
    """Return what is run, with its seeds, in its order: the core, the other alphas, the core again, and the rest."""
    core = [(arm, 0) for arm in CORE]
    if short:
        return core
    others = [(arm, 0) for arm in ARMS if arm not in CORE]
    alphas = [run for run in others if run[0].variant is not None and run[0].variant.alpha is not None]
    again = [(arm, seed) for seed in range(1, SEEDS) for arm in CORE]
    return core + alphas + again + [run for run in others if run not in alphas]


def asked_of(arm: Arm, short: bool) -> list[Measure]:
    """Return what the features of an arm are asked for; a classifier, which takes minutes, those of the core alone."""
    if short:
        return [ASKED[name] for name in COLOURS]
    return [measure for name, measure in ASKED.items() if name != "linear" or arm in CORE]


def frame_alone(folder: DrawnFolder) -> float:
    """Return the share of test videos whose motion a discriminant tells from the toy in their middle frame alone:
    where its centre is, how large it is, and how far it reaches."""
    table = read_manifest(folder.manifest)
    poses = np.stack([pose(np.load(folder.mask(video))["mask"]) for video in table["video_id"]])
    train, labels = (table["split_neutral"] == "train").to_numpy(), table["label"].to_numpy(int)
    return float((linear_discriminant(poses[train], labels[train], poses[~train]) == labels[~train]).mean())


def pose(masks: np.ndarray) -> np.ndarray:
    """Return place, squares of the place, area and extent of the middle one of masks (T, H, W) bool: (8,)."""
    places = np.argwhere(masks[len(masks) // 2]) / masks.shape[1]
    (y, x), extent = places.mean(axis=0) - [0.5, 0.5 * masks.shape[2] / masks.shape[1]], np.ptp(places, axis=0)
    return np.array([y, x, y * y, x * x, abs(y), abs(x), len(places) / masks[0].size, np.hypot(*extent)])


def report(path: Path, alone: float) -> str:
    """Write a report and a picture beside the rows; return the report: each arm, what it has over MoCo, its motions,
    and what the figures mean. alone: what `frame_alone` returns."""
    rows = read_rows(path)
    found = {arm.name: intervals_of(rows, arm.name) for arm in ARMS if any(row.arm == arm.name for row in rows)}
    heads = ["", *(asked for asked in ASKED if any(asked in measured for measured in found.values()))]
    lines = [f"| {' | '.join([*heads, 'R@1, less MoCo', 'seeds'])} |", "| --- " * (len(heads) + 2) + "|"]
    for name, measured in found.items():
        gain = spoken(gain_over(rows, name, MOCO.name, ASKED["R@1"]))
        cells = [shown_name(name), *(str(measured.get(asked, "")) for asked in heads[1:]), gain]
        lines.append(f"| {' | '.join(cells)} | {len(outcomes(rows, name, ASKED['R@1']))} |")
    by_motion = motions_table(rows, list(found), SAMPLE_CLASSES).replace(SYMMETRIC, "")
    text = "\n".join([*lines, "", by_motion, legend(rows, alone)])
    files.write_text(path.with_suffix(".md"), text)
    bars = {shown_name(name): measured for name, measured in found.items()}
    plot_bars(bars, CHANCE, path.with_suffix(".png"), COLOURS, f"Six motions, {video_count(rows)} test videos")
    plot_alphas(found, ARMS, MOCO.name, CHANCE, path.with_name(f"{path.stem}-alphas.png"), COLOURS)
    return text


def legend(rows: Sequence[Row], alone: float) -> str:
    """Say in words what the report has, with its reservation."""
    text = (
        f"R@1: the share of the {video_count(rows)} test videos whose nearest training video is of their motion, in %; "
        f"chance is {100 * CHANCE:.1f}. Still clips show their middle frame throughout, so that only place and size of "
        f"the toy can tell: by them a discriminant of the drawn masks tells {100 * alone:.1f} %. In brackets: 95 % "
        f"intervals by bootstrap over {drawn_over(rows)}. No label has taught the features. All are trained with "
        "--symmetric."
    )
    return textwrap.fill(text, 120) + "\n"


def video_count(rows: Sequence[Row]) -> int:
    """Return the number of test videos; 0 without rows."""
    return len(rows[0].hits) if rows else 0


def shown_name(name: str) -> str:
    """Return the name of an arm as the report has it; all arms are symmetric here."""
    return name.removesuffix(SYMMETRIC)


def intervals_of(rows: Sequence[Row], name: str) -> dict[str, Interval]:
    """Return the intervals of what an arm was asked for."""
    found = {asked: list(outcomes(rows, name, measure).values()) for asked, measure in ASKED.items()}
    return {asked: interval(runs) for asked, runs in found.items() if runs}

"""Ask the study's first questions of the demo's videos, too, whose six motions are faster and go further.

python -m tests.benchmarks.evidence.six_motions WORK [--minutes 120]

On the controlled set, supervised training learns little more than one motion of twelve in as many steps as the study
has. This set tells how the methods compare where more is learned. Places and sizes of its toys are not balanced as
those of the controlled set are, so that a frame alone tells something of the motion. How much is printed first, and
features are asked for motions of still clips, too. Rows are kept as those of the study, and a run whose rows are there
is not done again.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from s2vc.manifests.sample import SAMPLE_CLASSES, SPLITS, draw_sample
from s2vc.manifests.table import build_table, read_manifest, record_root, write_manifest
from s2vc.pipeline.demo.drawn_videos import DrawnFolder
from s2vc.pipeline.storage import files
from tests.benchmarks.evidence.arms import BOTH, Arm, preserved
from tests.benchmarks.evidence.intervals import difference, interval
from tests.benchmarks.evidence.report import outcomes, spoken
from tests.benchmarks.evidence.runs import Study
from tests.benchmarks.evidence.table import ROWS, Measure, Row, add_rows, read_rows
from tests.benchmarks.measure import machine, print_machine
from tests.support.classifiers import linear_discriminant

SIX_ROWS = ROWS.with_name("six-motions.csv")
SIZE = (96, 128)
PER_CLASS, TEST_PER_CLASS = 120, 80
"""Videos of a motion: of five, `manifests.sample` has three for training and two for testing."""

EPOCHS, SEEDS = 16, 2
MOCO = Arm("MoCo", "moco", BOTH)
ARMS = (
    Arm("random weights", "random"),
    MOCO,
    preserved(alpha=0.5),
    preserved(alpha=0.3),
    preserved(alpha=0.7),
    preserved(alpha=0.9),
    preserved(alpha=0.1),
    preserved("random", keep=0.1),
    preserved(keep=0.1),
    preserved("reverse", keep=0.1),
    preserved("tfd", keep=0.1),
    preserved("shuffle-clip", keep=0.1),
)
"""All that train are symmetric. What was expected of them is in arms.PREDICTIONS."""

CORE = ARMS[:3]
ASKED = {
    "R@1": Measure("retrieval", "neutral", "motion"),
    "R@1, still": Measure("retrieval --order still", "neutral", "motion"),
    "linear": Measure("linear", "neutral", "motion"),
    "order of frames": Measure("order", "neutral", "order"),
}


@dataclass(frozen=True)
class SixMotions(Study):
    """Describes the same study on the demo's videos."""

    motions: ClassVar[int] = len(SAMPLE_CLASSES)

    @property
    def name(self) -> str:
        return "six"

    def draw(self) -> None:
        folder = DrawnFolder(self.videos)
        if folder.manifest.exists():
            return
        rows = []
        for video in draw_sample(PER_CLASS * len(SPLITS) // SPLITS.count("train"), self.frames, SIZE):
            if not folder.has(video.video_id):
                folder.write(video.video_id, video.frames, video.masks)
            rows.append((video.video_id, str(video.label), video.class_name, video.split))
        columns = ("video_id", "label", "class_name", "split_neutral")
        record_root(folder.manifest, folder.videos)
        write_manifest(build_table(dict(zip(columns, zip(*rows, strict=True), strict=True))), folder.manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for videos, caches and runs")
    parser.add_argument("--minutes", type=float, default=600, help="no run is begun after so many")
    options = parser.parse_args()
    print_machine()
    deadline = time.monotonic() + 60 * options.minutes
    study = SixMotions(options.work, 0.0, PER_CLASS, TEST_PER_CLASS, ("neutral",), 36, EPOCHS, machine())
    study.draw()
    print(f"a frame's place and size of the toy tell {100 * frame_alone(DrawnFolder(study.videos)):.1f} % of motions")
    plan = [(arm, seed) for seed in range(SEEDS) for arm in CORE] + [(arm, 0) for arm in ARMS if arm not in CORE]
    for arm, seed in plan:
        known = {row.measure for row in read_rows(SIX_ROWS) if (row.arm, row.seed) == (arm.name, seed)}
        if time.monotonic() < deadline and known != set(ASKED.values()):
            study.prepare(arm)
            add_rows(study.run(arm, seed, [asked for asked in ASKED.values() if asked not in known]), SIX_ROWS)
            report(read_rows(SIX_ROWS))
    print(report(read_rows(SIX_ROWS)))


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


def report(rows: Sequence[Row]) -> str:
    """Write six-motions.md beside the rows, and return its text: each arm, what it has over MoCo, and its motions."""
    names = [arm.name for arm in ARMS if any(row.arm == arm.name for row in rows)]
    heads = ["", *ASKED, *(f"{asked}, less MoCo" for asked in ("R@1", "linear")), "seeds"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name in names:
        found = [list(outcomes(rows, name, measure).values()) for measure in ASKED.values()]
        cells = [name, *(str(interval(runs)) if runs else "" for runs in found)]
        cells += [over_moco(rows, name, asked) for asked in ("R@1", "linear")]
        lines.append(f"| {' | '.join(cells)} | {len(found[0])} |")
    motions = sorted(SAMPLE_CLASSES)
    lines += ["", f"| R@1, in % | {' | '.join(motions)} |", "| --- " * (len(motions) + 1) + "|"]
    for name in names:
        # Outcomes are in the order of ids, which begin with the motion.
        hits = np.mean(list(outcomes(rows, name, ASKED["R@1"]).values()), axis=0).reshape(len(motions), -1).mean(axis=1)
        lines.append(f"| {name} | {' | '.join(f'{100 * share:.0f}' for share in hits)} |")
    text = "\n".join([*lines, ""])
    files.write_text(SIX_ROWS.with_suffix(".md"), text)
    return text


def over_moco(rows: Sequence[Row], name: str, asked: str) -> str:
    """Return what an arm has over MoCo with the same seeds, in words; empty for MoCo."""
    ours, theirs = (outcomes(rows, arm, ASKED[asked]) for arm in (name, MOCO.name))
    both = sorted(set(ours) & set(theirs))
    gain = difference([ours[seed] for seed in both], [theirs[seed] for seed in both]) if both else None
    return spoken(gain) if name != MOCO.name else ""


if __name__ == "__main__":
    main()

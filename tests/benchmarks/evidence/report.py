"""Report the study as tables and as pictures, from its rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s2vc.manifests.motions import MOTIONS
from s2vc.pipeline.storage import files
from tests.benchmarks.evidence.arms import GROUPS, SYMMETRIC_ARMS, baseline_of
from tests.benchmarks.evidence.intervals import Interval, difference, gap, interval
from tests.benchmarks.evidence.pictures import plot_alphas, plot_bars
from tests.benchmarks.evidence.table import Measure, Row

CHANCE = 1 / 12
"""This is the chance level, for motions as for scenes."""


def write_report(rows: Sequence[Row], folder: Path) -> str:
    """Write results.md and the pictures into a folder; return the text of results.md."""
    parts = []
    for shift in sorted({row.shift for row in rows}):
        chosen = [row for row in rows if row.shift == shift]
        parts.append(f"## RHO {shift:g}\n\n{legend(chosen, shift)}\n\n{retrieval_table(chosen)}")
        tables = (motions_table(chosen, arm_names(chosen), MOTIONS), parts_table(chosen), probes_table(chosen))
        parts += [table for table in tables if table]
        plot_bars(found_by_arm(chosen), CHANCE, folder / f"results-{shift:g}.png")
        path = folder / f"alphas-{shift:g}.png"
        plot_alphas(found_by_arm(chosen), SYMMETRIC_ARMS, SYMMETRIC_ARMS[0].name, CHANCE, path)
    text = "\n".join(parts)
    files.write_text(folder / "results.md", text)
    return text


def legend(rows: Sequence[Row], shift: float) -> str:
    """Say in words what the tables of a set have."""
    how = "Scenes are independent of motions"
    if shift:
        how = f"In a share of {shift:g} of the training videos the scene goes with the motion"
    return (
        f"{how}. R@1: the share of test videos whose nearest training video has their motion, or their scene, in %. In "
        f"brackets: 95 % intervals by bootstrap over {drawn_over(rows)}."
    )


def drawn_over(rows: Sequence[Row]) -> str:
    """Say over what the bootstrap of these rows draws."""
    seeds = len({row.seed for row in rows})
    return "test videos and seeds" if seeds > 1 else "test videos alone, since there is one seed"


def outcomes(rows: Sequence[Row], arm: str, measure: Measure) -> dict[int, np.ndarray]:
    """Return an arm's outcomes on a measure, by seed."""
    return {row.seed: row.hits for row in rows if (row.arm, row.measure) == (arm, measure)}


def arm_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of the arms that have rows, in the order of the study."""
    return [arm.name for arms in GROUPS.values() for arm in arms if any(row.arm == arm.name for row in rows)]


def found_by_arm(rows: Sequence[Row]) -> dict[str, dict[str, Interval]]:
    """Return R@1 of neutral test videos for each arm and label."""
    return {
        name: {
            label: interval(list(outcomes(rows, name, Measure("retrieval", "neutral", label)).values()))
            for label in ("motion", "scene")
        }
        for name in arm_names(rows)
    }


def retrieval_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of each arm's R@1 in per cent on neutral videos, and of what it has over MoCo with the
    same seeds."""
    heads = ["R@1, test `neutral`", "motion", "scene", "motion, less MoCo", "scene, less MoCo", "seeds"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, found in found_by_arm(rows).items():
        gains = [spoken(gain_over_baseline(rows, name, label)) for label in ("motion", "scene")]
        seeds = len(outcomes(rows, name, Measure("retrieval", "neutral", "motion")))
        lines.append(f"| {name} | {found['motion']} | {found['scene']} | {' | '.join(gains)} | {seeds} |")
    return "\n".join([*lines, "", f"Chance: {100 * CHANCE:.1f} % for both labels.", ""])


def gain_over_baseline(rows: Sequence[Row], name: str, label: str) -> Interval | None:
    """Return an arm's R@1 less that of MoCo, trained as the arm was, by the seeds that both have; None without any, and
    for MoCo itself."""
    return gain_over(rows, name, baseline_of(name), Measure("retrieval", "neutral", label))


def gain_over(rows: Sequence[Row], name: str, other: str, measure: Measure) -> Interval | None:
    """Return what an arm has over another on a measure, by the seeds that both have; None without any, and for the same
    arm."""
    ours, theirs = outcomes(rows, name, measure), outcomes(rows, other, measure)
    both = sorted(set(ours) & set(theirs))
    return difference([ours[s] for s in both], [theirs[s] for s in both]) if both and name != other else None


def motions_table(rows: Sequence[Row], arms: Sequence[str], motions: Sequence[str]) -> str:
    """Return a table of R@1 on each motion, mean over seeds: what is gained may be gained by a single one.

    The outcomes of a row are in the order of ids, which begin with the motion, and each motion has as many videos.
    """
    names = sorted(motions)
    lines = [f"| R@1 on motion, in % | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for name in arms:
        runs = list(outcomes(rows, name, Measure("retrieval", "neutral", "motion")).values())
        means = np.stack(runs).reshape(len(runs), len(names), -1).mean(axis=(0, 2))
        lines.append(f"| {name} | {' | '.join(f'{100 * mean:.0f}' for mean in means)} |")
    return "\n".join([*lines, ""])


def parts_table(rows: Sequence[Row]) -> str:
    """Return a table of R@1 on motion in the other tests, and of the bias gap, matched less swapped; empty without
    such rows."""
    parts = [p for p in ("matched", "swapped", "shake", "pan") if any(row.part == p for row in rows)]
    if not parts:
        return ""
    lines = [f"| motion R@1 | {' | '.join(parts)} | matched less swapped |", "| --- " * (len(parts) + 2) + "|"]
    for name in arm_names(rows):
        runs = {p: list(outcomes(rows, name, Measure("retrieval", p, "motion")).values()) for p in parts}
        cells = [str(interval(runs[p])) if runs[p] else "" for p in parts]
        bias = str(gap(runs["matched"], runs["swapped"])) if runs.get("matched") and runs.get("swapped") else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {bias} |")
    return "\n".join([*lines, ""])


def probes_table(rows: Sequence[Row]) -> str:
    """Return a table of linear classifiers and of the order of frames; empty without such rows."""
    asked = [Measure("linear", "neutral", label) for label in ("motion", "scene")] + [
        Measure("order", "neutral", "order")
    ]
    lines = [
        "| accuracy, test `neutral` | linear, motion | linear, scene | order of frames |",
        "| --- | --- | --- | --- |",
    ]
    for name in arm_names(rows):
        runs = [list(outcomes(rows, name, measure).values()) for measure in asked]
        if any(runs):
            lines.append(f"| {name} | {' | '.join(str(interval(r)) if r else '' for r in runs)} |")
    return "\n".join([*lines, "", "Chance of order: 50 %.", ""]) if len(lines) > 2 else ""


def spoken(gain: Interval | None) -> str:
    """Return a difference as text, which says so if its interval contains 0."""
    if gain is None:
        return ""
    return f"{gain}" + ("" if gain.low > 0 or gain.high < 0 else ", no difference shown")

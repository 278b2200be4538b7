"""Report the study as a table and as a picture, from its rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from s2vc.pipeline.storage import files
from tests.benchmarks.evidence.arms import ARMS, BASELINE, OURS
from tests.benchmarks.evidence.intervals import Interval, difference, interval
from tests.benchmarks.evidence.table import Row

CHANCE = 1 / 12
"""This is the chance level, for motions as for scenes."""


def write_report(rows: Sequence[Row], folder: Path) -> str:
    """Write results.md and results.png into a folder; return the text of results.md."""
    parts = []
    for shift, part in sorted({(row.shift, row.part) for row in rows}, key=lambda key: (key[0], key[1] != "neutral")):
        chosen = [row for row in rows if (row.shift, row.part) == (shift, part)]
        parts.append(f"RHO {shift:g}, test `{part}`\n\n" + table(chosen))
    text = "\n".join(parts)
    files.write_text(folder / "results.md", text)
    neutral = [row for row in rows if row.part == "neutral" and row.shift == min(r.shift for r in rows)]
    plot(neutral, folder / "results.png")
    return text


def outcomes(rows: Sequence[Row], arm: str, label: str) -> dict[int, np.ndarray]:
    """Return an arm's outcomes on a label (motion or scene), by seed."""
    return {row.seed: row.hits for row in rows if (row.arm, row.label) == (arm, label)}


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of each arm's R@1 in per cent, and its gain on motion over MoCo with the same seeds."""
    lines = [
        "| | motion R@1 | scene R@1 | motion, less MoCo | seeds |",
        "| --- | --- | --- | --- | --- |",
    ]
    baseline = outcomes(rows, BASELINE, "motion")
    for name in arm_names(rows):
        motion, scene = (outcomes(rows, name, label) for label in ("motion", "scene"))
        both = sorted(set(motion) & set(baseline))
        gain = difference([motion[s] for s in both], [baseline[s] for s in both]) if both and name != BASELINE else None
        cells = [str(interval(list(values.values()))) for values in (motion, scene)]
        lines.append(f"| {name} | {' | '.join(cells)} | {spoken(gain)} | {len(motion)} |")
    return "\n".join([*lines, "", f"Chance: {100 * CHANCE:.1f} % for both labels.", ""])


def spoken(gain: Interval | None) -> str:
    """Return a difference as text, which says so if its interval contains 0."""
    if gain is None:
        return ""
    return f"{gain}" + ("" if gain.low > 0 or gain.high < 0 else ", no difference shown")


def arm_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of the arms that have rows, in the order of the study."""
    return [arm.name for arm in ARMS if any(row.arm == arm.name for row in rows)]


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot R@1 on motion and on scene, with a bar and its interval for each arm."""
    names = arm_names(rows)
    figure = Figure(figsize=(7, 1.4 + 0.45 * len(names)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    for label, colour, shift in (("motion", "#c2410c", -0.2), ("scene", "#94a3b8", 0.2)):
        found = [interval(list(outcomes(rows, name, label).values())) for name in names]
        means = np.array([i.mean for i in found])
        errors = np.array([[i.mean - i.low for i in found], [i.high - i.mean for i in found]])
        axes.barh(places + shift, 100 * means, 0.38, color=colour, label=label, xerr=100 * errors, ecolor="#334155")
    axes.axvline(100 * CHANCE, color="#334155", linewidth=0.8, linestyle="--", label="chance")
    axes.set_yticks(places, [n + (" (ours)" if n == OURS else "") for n in names])
    axes.invert_yaxis()
    axes.set_xlabel("Recall@1 in %, test videos among training videos; bars: 95 % intervals")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with files.attempt(path) as aside:
        figure.savefig(aside, format="png", dpi=120)

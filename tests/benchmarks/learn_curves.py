"""Show how both regimes of `s2vc-train` learn in runs of several lengths on the demo's six motions: what decides
between them.

python -m tests.benchmarks.learn_curves WORK [--steps 200 1000 5000] [--method s2vc]

WORK keeps videos, cache and runs; the study's with --set six (tests.benchmarks.evidence) has the same videos. A run
that has ended is not done again, so the benchmark can be stopped and run again. It prints, for each run, loss and own
key first over its last tenth, and Recall@1 by motion, and plots own key first against steps.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from s2vc.eval.results_folder import read_table
from s2vc.pipeline.storage.figures import save_figure
from s2vc.training.run_folder import RunFolder, last_tenth, mean_of, read_metrics
from tests.benchmarks.evidence.arms import FULL, preserved
from tests.benchmarks.evidence.pictures import INK
from tests.benchmarks.evidence.runs import Study, call
from tests.benchmarks.evidence.six_motions import study_of_six
from tests.benchmarks.measure import print_machine, print_row

BATCH, SIZE = 40, 32
REGIMES = {"small": "#c2410c", "paper": "#2563eb"}
"""The regimes, with their colours."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--method", choices=["s2vc", "moco"], default="s2vc")
    options = parser.parse_args()
    print_machine()
    study = study_of_six(options.work, short=False)
    arm = preserved(alpha=0.5, symmetric=False)
    study.prepare(arm)
    assert arm.variant is not None
    variant = ("--variant", arm.variant.name) if options.method == "s2vc" else ()
    runs: dict[tuple[str, int], Path] = {}
    for steps in options.steps:
        for regime in REGIMES:
            runs[regime, steps] = train(study, options.method, variant, regime, steps)
            report(study, runs[regime, steps], f"{options.method}, {regime}, {steps} steps")
    plot(runs, options.work / f"learn-curves-{options.method}.png")


def train(study: Study, method: str, variant: tuple[object, ...], regime: str, steps: int) -> Path:
    """Train for about so many steps, whole epochs, with the regime's own settings; return the folder of the run."""
    folder = study.work / "regimes" / f"{method}-{regime}-{steps}"
    epochs = max(1, round(steps / (study.per_class * study.motions // BATCH)))
    settings = ("--method", method, *variant, "--regime", regime, *FULL, "--size", SIZE, "--batch", BATCH)
    length = ("--epochs", epochs, "--seed", 0, "--precision", "float32")
    call("s2vc-train", study.cache(), *settings, *length, "--out", folder)
    return folder


def report(study: Study, run: Path, name: str) -> None:
    """Print the rows of a run: what it learned of the pairs, and what its features know."""
    last = last_tenth(read_metrics(RunFolder(run).metrics))
    print_row(f"{name}: loss of the last tenth", f"{mean_of(last, 'loss'):.2f}")
    print_row(f"{name}: own key first (chance {1 / BATCH:.1%})", f"{mean_of(last, 'batch_top1'):.1%}")
    results = study.work / "results"
    view = ("--frames", 8, "--frame-step", 2, "--size", SIZE, "--split", "split_neutral")
    call("s2vc-eval", "retrieval", study.cache(), run, *view, "--out", results)
    recall = 100 * read_table(results)["recall@1"].iloc[-1]
    print_row(f"{name}: R@1, motion (chance {1 / study.motions:.1%})", f"{recall:.1f}%")


def plot(runs: dict[tuple[str, int], Path], path: Path) -> None:
    """Plot own key first against steps, as means over a twentieth of each run."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for (regime, steps), run in runs.items():
        parts = np.array_split([100 * s.batch_top1 for s in read_metrics(RunFolder(run).metrics)], 20)
        ends = np.cumsum([len(part) for part in parts])
        name = f"{regime} regime" if steps == max(length for _, length in runs) else None
        axes.plot(ends, [part.mean() for part in parts], color=REGIMES[regime], marker=".", label=name)
    axes.axhline(100 / BATCH, color=INK, linewidth=0.8, linestyle="--", label="chance")
    axes.set_xscale("log")
    axes.set_xlabel("steps")
    axes.set_ylabel("own key first, in %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    print(path)


if __name__ == "__main__":
    main()

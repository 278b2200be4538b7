"""Test the paper's claim, with intervals: draw videos, train every arm on them, and evaluate the features.

python -m tests.benchmarks.evidence WORK [--set controlled] [--short] [--minutes 120]

WORK keeps videos, caches and runs. Every figure is a row of docs/evidence/rows.csv, or of six-motions.csv beside it,
and a run whose rows are there is not done again. So the same command resumes a study that was stopped, also on another
machine. --short runs random weights, MoCo and S²VC on fewer videos of six motions, and writes a table of its own in
WORK.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.evidence.arms import ARMS, LONG_ARMS, PREDICTIONS, SYMMETRIC_ARMS, Arm
from tests.benchmarks.evidence.report import write_report
from tests.benchmarks.evidence.runs import LABELS, Study
from tests.benchmarks.evidence.six_motions import run_six
from tests.benchmarks.evidence.table import ROWS, Measure, add_rows, missing_measures, read_rows
from tests.benchmarks.measure import machine, print_machine

CORE_SHIFT, SHIFT = 0.0, 0.9
"""RHO of the two sets: without a shift, and with one, where scenes go with motions in training."""

SEEDS_CORE, SEEDS = 3, 2
EPOCHS = 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for videos, caches and runs")
    parser.add_argument("--set", choices=["controlled", "six"], default="controlled", help="which videos are drawn")
    parser.add_argument("--short", action="store_true", help="three arms, six motions; a table of its own in WORK")
    parser.add_argument("--minutes", type=float, default=600, help="no run is begun after so many")
    options = parser.parse_args()
    print_machine()
    deadline = time.monotonic() + 60 * options.minutes
    for prediction in PREDICTIONS if not options.short else ():
        print(f"predicted: {prediction}")

    def out_of_time() -> bool:
        return time.monotonic() >= deadline

    if options.short or options.set == "six":
        run_six(options.work, options.short, out_of_time)
    else:
        run_controlled(options.work, out_of_time)


def run_controlled(work: Path, out_of_time: Callable[[], bool]) -> None:
    """Do the runs of the controlled set that have no rows yet, and print the report."""
    plan = planned(work)
    left = [run for run in plan if missing(*run)]
    print(f"{len(plan)} runs, {len(left)} of them to do")
    for number, (study, arm, seed) in enumerate(left, 1):
        if out_of_time():
            break
        print(f"run {number} of {len(left)}: {arm.name}, RHO {study.shift:g}, seed {seed}", flush=True)
        study.prepare(arm)
        add_rows(study.run(arm, seed, missing(study, arm, seed)))
        write_report(read_rows(), ROWS.parent)
    print(write_report(read_rows(), ROWS.parent))
    print(f"{ROWS.parent / 'results.md'}, and pictures beside it; docs/evidence.md says what they mean")


def planned(work: Path) -> list[tuple[Study, Arm, int]]:
    """Return what is run, in its order.

    The core arms on the set without a shift, longer runs of two of them, then the core and supervised training on the
    shifted set. There S²VC was at chance in its first run, so that no part of it could show what it is good for. The
    parts of the method are therefore compared without a shift first, and symmetric, since asymmetric runs could not
    tell them apart; and only then on the shifted set, as was planned.
    """
    tests = ("neutral", "matched", "swapped", "shake", "pan")
    independent, shifted = (Study(work, shift, 60, 20, tests, 24, EPOCHS, machine()) for shift in (CORE_SHIFT, SHIFT))
    core = [arm for arm in ARMS if arm.core]
    first = [(independent, arm, seed) for seed in range(SEEDS_CORE) for arm in core]
    longer = [(replace(independent, epochs=2 * EPOCHS), arm, 0) for arm in LONG_ARMS]
    biased = [(shifted, arm, 0) for arm in ARMS if arm.core or arm.method == "supervised"]
    parts = [(independent, arm, 0) for arm in (*SYMMETRIC_ARMS, *ARMS) if not arm.core]
    every = [(shifted, arm, seed) for seed in range(SEEDS) for arm in (*ARMS, *SYMMETRIC_ARMS)]
    return first + longer + biased + parts + [run for run in every if run not in biased]


def missing(study: Study, arm: Arm, seed: int) -> list[Measure]:
    """Return what a run has no rows of yet."""
    return missing_measures(measures(arm, study), arm.name, study.shift, seed)


def measures(arm: Arm, study: Study) -> list[Measure]:
    """Return what an arm's features are asked for.

    Matched and swapped tests differ from neutral ones only where scenes go with motions in training. There, the core
    arms and supervised training are also tested by a classifier and by the order of frames, as symmetric runs are.
    """
    parts = ["neutral"]
    parts += ["matched", "swapped"] if study.shift else []
    parts += ["shake", "pan"] if arm.moving_camera else []
    wanted = [Measure("retrieval", part, label) for part in parts for label in LABELS]
    if arm in (*SYMMETRIC_ARMS, *LONG_ARMS) or (study.shift and (arm.core or arm.method == "supervised")):
        wanted += [Measure("linear", "neutral", label) for label in LABELS]
        wanted += [Measure("order", "neutral", "order")]
    return wanted


if __name__ == "__main__":
    main()

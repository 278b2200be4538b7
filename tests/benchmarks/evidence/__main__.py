"""Test the paper's claim, with intervals: draw the controlled set, train every arm on it, and evaluate by retrieval.

python -m tests.benchmarks.evidence WORK [--short] [--minutes 120]

WORK keeps videos, cache and runs. Every figure is a row of docs/evidence/rows.csv, and a run whose rows are there is
not done again. So the same command resumes a study that was stopped, also on another machine. --short runs three arms
with two seeds, writes a table of its own in WORK, and takes half an hour on two cores.
"""

import argparse
import time
from pathlib import Path

from tests.benchmarks.evidence.arms import ARMS, PREDICTIONS, Arm
from tests.benchmarks.evidence.report import write_report
from tests.benchmarks.evidence.runs import Study
from tests.benchmarks.evidence.table import ROWS, add_rows, read_rows
from tests.benchmarks.measure import machine, print_machine

SEEDS_CORE, SEEDS = 3, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--minutes", type=float, default=600, help="no run is begun after so many")
    parser.add_argument("--shift", type=float, default=0.0, help="RHO of the set")
    options = parser.parse_args()
    print_machine()
    tests = ("neutral",) if options.short else ("neutral", "matched", "swapped", "shake", "pan")
    study = Study(options.work, options.shift, 60, 20, tests, 24, 22, machine())
    rows = options.work / "rows.csv" if options.short else ROWS
    deadline = time.monotonic() + 60 * options.minutes
    for prediction in PREDICTIONS if not options.short else ():
        print(f"predicted: {prediction}")
    study.prepare()
    for arm, seed in planned(options.short):
        known = {row.part for row in read_rows(rows) if (row.arm, row.shift, row.seed) == (arm.name, study.shift, seed)}
        missing = [part for part in parts_of(arm, study) if part not in known]
        if missing and time.monotonic() < deadline:
            add_rows(study.run(arm, seed, missing), rows)
            write_report(read_rows(rows), rows.parent)
    print(write_report(read_rows(rows), rows.parent))


def parts_of(arm: Arm, study: Study) -> list[str]:
    """Return the test parts that an arm is tested on: neutral, and two that need a reason.

    Where scenes do not go with motions in training (RHO 0), matched and swapped ask what neutral does.
    """
    wanted = {"neutral"}
    wanted |= {"matched", "swapped"} if study.shift else set()
    wanted |= {"shake", "pan"} if arm.moving_camera else set()
    return [part for part in study.tests if part in wanted]


def planned(short: bool) -> list[tuple[Arm, int]]:
    """Return the arms and seeds in the order in which they run: the core arms with all their seeds, then the others."""
    core = [(arm, seed) for seed in range(SEEDS if short else SEEDS_CORE) for arm in ARMS if arm.core]
    rest = [(arm, seed) for seed in range(SEEDS) for arm in ARMS if not arm.core]
    return core if short else core + rest


if __name__ == "__main__":
    main()

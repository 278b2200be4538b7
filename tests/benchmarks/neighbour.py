"""Measure speed while other processes keep the cores busy: threads that sleep or spin, workers with niceness or not.

python -m tests.benchmarks.neighbour [--repeats 3]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.measure import prep, print_machine, print_row, ratio, real_clips, scratch, write_manifest

CORES = os.cpu_count() or 1
CLIPS = 2


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run this many processes that compute all the time, while the block runs."""
    running = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def flow_speed(neighbours: int, policy: str) -> float:
    """Return the frames/s of the built-in flow's encode that `s2vc-prep flow-info` prints, with a thread on every core.

    neighbours: how many busy processes run meanwhile. policy: OpenMP's wait policy.
    """
    with busy(neighbours):
        result = subprocess.run(
            prep("flow-info", "default"),
            env=os.environ | {"OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(CORES)},
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"encode: (\d+) frames/s", result.stdout)
    assert found
    return float(found[1])


def encode_seconds(manifest: Path, root: Path, cache: Path, neighbours: int, niceness: str) -> float:
    """Return the seconds of a whole `s2vc-prep encode` with this niceness of Ray's workers."""
    command = prep("encode", manifest, "--root", root, "--out", cache, "--shard-size", 1)
    with busy(neighbours):
        started = time.perf_counter()
        subprocess.run(command, env=os.environ | {"RAY_worker_niceness": niceness}, capture_output=True, check=True)
        return time.perf_counter() - started


def report(what: str, unit: str, figures: dict[str, list[float]], over: Sequence[float]) -> None:
    """Print a row for each list of figures, with its ratio to `over`."""
    for name, values in figures.items():
        print_row(f"{what}, {name}", f"{statistics.median(values):.0f} {unit}", ratio(values, over))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = range(parser.parse_args().repeats)
    print_machine()
    policies = {f"{policy.lower()}, {n} busy": (n, policy) for n in (0, CORES - 1) for policy in ("ACTIVE", "PASSIVE")}
    speeds: dict[str, list[float]] = {name: [] for name in policies}
    for _ in repeats:
        for name, (neighbours, policy) in policies.items():
            speeds[name].append(flow_speed(neighbours, policy))
    print(f"flow-info on {CORES} cores; ratio to threads that spin, alone")
    report("encode", "frames/s", speeds, speeds["active, 0 busy"])
    with scratch() as folder:
        clips = real_clips("street", folder)[:CLIPS]
        manifest = write_manifest(folder / "m.csv", clips, clips[0].parent)
        times: dict[str, list[float]] = {"15": [], "0": []}
        for n in repeats:
            for niceness, spent in times.items():
                spent.append(encode_seconds(manifest, clips[0].parent, folder / f"{n}-{niceness}", CORES, niceness))
    print(
        f"encode of {CLIPS} street clips beside {CORES} busy processes, by niceness of workers; ratio to Ray's own, 15"
    )
    report("whole command", "s", times, times["15"])


if __name__ == "__main__":
    main()

"""This module counts the processor cores that there are for this process; it does not import torch."""

import math
import os
from pathlib import Path


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores this process may use: those it is bound to, within a container's quota, at least 1."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = _quota(cgroup)
    except (OSError, ValueError):  # there is no quota, or it cannot be read
        return bound
    return max(1, min(bound, math.ceil(quota / period))) if quota > 0 else bound


def default_threads() -> int:
    """Return how many threads to compute with where nobody says: OMP_NUM_THREADS, which schedulers and users set to
    share a machine, else `available_cpus`."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(asked) if asked.isdecimal() and int(asked) else available_cpus()


def _quota(cgroup: Path) -> tuple[int, int]:
    """Return the processor time, and the period in which it may be used, in microseconds (cgroups version 2 or 1)."""
    if (cgroup / "cpu.max").exists():
        quota, period = (cgroup / "cpu.max").read_text().split()
    else:
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota), int(period)

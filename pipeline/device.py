"""This module finds where a computation runs: its device, its CPU cores, and its rank among several processes."""

import math
import os
from pathlib import Path

import torch
from torch import distributed

from s2vc.manifests.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """Return the device of this name; without a name, the GPU if there is one, else the CPU.

    NVIDIA's GPUs are counted and not used, since a process that has used one holds some of its memory to the end, and
    this one may leave all work to others. Raises UserError if this machine has no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type != "cuda":
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and (device.index or 0) >= (found := torch.cuda.device_count()):
        raise UserError(f"no device {name!r} here: PyTorch finds {found or 'no'} GPU{'' if found == 1 else 's'}")
    return device


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores this process may use: those it is bound to, within a container's quota, at least 1."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = _quota(cgroup)
    except (OSError, ValueError):  # there is no quota, or it cannot be read
        return bound
    return max(1, min(bound, math.ceil(quota / period))) if quota > 0 else bound


def _quota(cgroup: Path) -> tuple[int, int]:
    """Return the processor time, and the period in which it may be used, in microseconds (cgroups version 2 or 1)."""
    if (cgroup / "cpu.max").exists():
        quota, period = (cgroup / "cpu.max").read_text().split()
    else:
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota), int(period)


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank under torch.distributed and the number of processes, or (0, 1) without it."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1

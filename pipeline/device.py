"""Where a computation runs: its device, its cores, and this process's place among several."""

import math
import os
from pathlib import Path

import torch
from torch import distributed

from s2vc.manifests.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """A device by its name, by default the GPU where there is one; raises UserError where there is none such."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here: {str(error).splitlines()[0]}") from error


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: those it is bound to, as many as a container's quota allows, 1 at least."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = _quota(cgroup)
    except (OSError, ValueError):  # no quota, or none that is told
        return bound
    return max(1, min(bound, math.ceil(quota / period))) if quota > 0 else bound


def _quota(cgroup: Path) -> tuple[int, int]:
    """Microseconds of processor time, and of the period in which they may be used, of version 2 or 1 of cgroups."""
    if (cgroup / "cpu.max").exists():
        quota, period = (cgroup / "cpu.max").read_text().split()
    else:
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota), int(period)


def rank_and_world_size() -> tuple[int, int]:
    """Rank of this process under torch.distributed, and how many there are; (0, 1) without."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1

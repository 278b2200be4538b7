"""Where a computation runs: its device, and this process's place among several."""

import torch
from torch import distributed

from manifests.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """A device by its name, by default the GPU where there is one; raises UserError where there is none such."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here: {str(error).splitlines()[0]}") from error


def place() -> tuple[int, int]:
    """Rank of this process under torch.distributed, and how many there are; (0, 1) without."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1

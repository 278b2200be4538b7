"""The precision that a run computes in: what a device has, what its run was begun in, and what is refused."""

import torch
from torch import distributed

from s2vc.manifests.errors import UserError
from s2vc.pipeline.device import rank_and_world_size
from s2vc.pipeline.flow import trains_in_bfloat16
from s2vc.training.settings import AUTO


def choose_training_precision(device: torch.device) -> str:
    """Choose what `auto` means on a device of this machine: bfloat16 where gradients are fast and right in it, float16
    on other GPUs, such as T4 and V100, and float32 on other CPUs."""
    if trains_in_bfloat16(device):
        return "bfloat16"
    return "float16" if device.type == "cuda" else "float32"


def refuse_precision(precision: str, device: torch.device) -> None:
    """Raise UserError for a precision that a device of this machine does not train in, see `trains_in_bfloat16`."""
    if precision == "bfloat16" and not trains_in_bfloat16(device):
        if device.type == "cuda":
            raise UserError("precision bfloat16 wants a GPU of compute capability 8.0 or more; here, take float16")
        raise UserError("precision bfloat16 wants a GPU or a CPU with AMX; on this one, take float32 (or auto)")
    if precision == "float16" and device.type == "cpu":
        raise UserError("precision float16 wants a GPU; on this CPU, take float32 (or auto)")


def agree_on_precision(precision: str, device: torch.device) -> str:
    """Resolve `auto` in each process of a run alike: all take what the first one chooses. Raises UserError where a
    process's device does not have it."""
    if precision == AUTO:
        chosen = [choose_training_precision(device)]
        if rank_and_world_size()[1] > 1:
            distributed.broadcast_object_list(chosen, src=0, device=device)
        precision = chosen[0]
    refuse_precision(precision, device)
    return precision

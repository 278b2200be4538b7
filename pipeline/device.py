"""This module finds where a computation runs: its device, and its rank among several processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

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


VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
"""CUDA, and Ray with it, sees the GPUs that this variable lists; all of the machine where it is not set."""


@contextmanager
def one_gpu_visible(name: str) -> Iterator[None]:
    """Hide all GPUs but one, `cuda:1` for the second, from the processes that this one starts while the block runs.

    For them it is `cuda:0`. Raises UserError if this machine has no such GPU.
    """
    number, before = choose_device(name).index or 0, os.environ.get(VISIBLE_GPUS)
    os.environ[VISIBLE_GPUS] = nth_visible(before, number)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE_GPUS]
        else:
            os.environ[VISIBLE_GPUS] = before


def nth_visible(visible: str | None, number: int) -> str:
    """Return CUDA's name of the GPU that a process counts as `number`, from 0, where it sees those of a list.

    visible: numbers or names with commas between, as in CUDA_VISIBLE_DEVICES; None: all of the machine.

    >>> nth_visible("4,GPU-8932f937", 1)
    'GPU-8932f937'
    """
    return visible.split(",")[number].strip() if visible is not None else str(number)


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; of the host's memory, so that the host does not wait for a GPU to have it.

    The copy is in order with what the GPU computes. x itself may be changed at once, since it is copied to memory that
    the GPU reads by itself first.
    """
    to_gpu = device.type == "cuda" and x.device.type == "cpu"
    return x.pin_memory().to(device, non_blocking=True) if to_gpu else x.to(device)


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank under torch.distributed and the number of processes, or (0, 1) without it."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1

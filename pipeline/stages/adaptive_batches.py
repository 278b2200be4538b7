"""The flow over as many frames at a time as memory has room for."""

from collections.abc import Callable

import torch
from torch import Tensor

BATCH = {"cpu": 64, "cuda": 512}
"""Frames that go through the flow at a time; filled across the videos of a shard."""

# What a GPU's allocator says, and the CPU's.
_SAID = ("out of memory", "can't allocate memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")


class AdaptiveBatches:
    """Frames through the flow, `size` at a time: half as many from the moment that memory runs out, for good."""

    def __init__(self, device: torch.device):
        self.wanted = self.size = BATCH[device.type]

    def map(self, function: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        """function(frames) for frames (n, …), in parts. Raises MemoryError where not even one at a time fits."""
        done: list[Tensor] = []
        first = 0
        while first < len(frames):
            part = frames[first : first + self.size]
            result = _unless_memory_is_short(function, part)
            if result is None:
                self._halve(len(part))
                continue
            done.append(result)
            first += len(part)
        return done[0] if len(done) == 1 else torch.cat(done)

    def notes(self, stage: str, shard: int) -> tuple[str, ...]:
        """What there is to tell of a shard that is done: nothing where memory was enough."""
        if self.size == self.wanted:
            return ()
        return (
            f"{stage} of shard {shard}: memory was short, so that {self.size} frames went through the flow at a time, "
            f"not {self.wanted}",
        )

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise MemoryError("there is no memory for a single frame to go through the flow")
        # Halves of the full size, whatever the rest was: on a CPU, slices of the flow then stay what they were.
        while self.size >= tried:
            self.size //= 2


def _unless_memory_is_short(function: Callable[[Tensor], Tensor], part: Tensor) -> Tensor | None:
    # Returned from, so that the error, and with it everything the batch had taken, is gone before the next one.
    try:
        return function(part)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it is a device's allocator that has no more: PyTorch has a class of error for GPUs only."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)

"""This module runs the flow over as many frames at a time as fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor

BATCH = {"cpu": 64, "cuda": 512}
"""This many frames go through the flow at a time; a batch is filled across the videos of a shard."""

# The allocators of GPU and CPU say this when memory runs out.
_SAID = ("out of memory", "can't allocate memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")


class AdaptiveBatches:
    """This passes frames through the flow, `size` at a time; when memory runs out, `size` is halved for good."""

    def __init__(self, device: torch.device):
        self.wanted = self.size = BATCH[device.type]

    def map(self, function: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        """Return function(frames) for frames (n, …), computed in parts.

        Raises MemoryError if there is not memory for a single frame.
        """
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
        """Return what should be reported of a shard that is done: nothing if memory was enough."""
        if self.size == self.wanted:
            return ()
        return (
            f"{stage} of shard {shard}: memory was short, so that {self.size} frames went through the flow at a time, "
            f"not {self.wanted}",
        )

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise MemoryError("there is no memory for a single frame to go through the flow")
        # The full size is halved, even if a smaller rest was tried, so that the flow's slices on a CPU stay the same.
        while self.size >= tried:
            self.size //= 2


def _unless_memory_is_short(function: Callable[[Tensor], Tensor], part: Tensor) -> Tensor | None:
    # This is a function of its own, so that the error, and all memory that it keeps, is gone before the next batch.
    try:
        return function(part)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device's allocator has no more memory; PyTorch has a class of error for GPUs only."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)

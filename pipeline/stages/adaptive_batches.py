"""This module runs the flow over as many frames at a time as fit into memory."""

from collections.abc import Callable

import torch
from torch import Tensor

BATCH = {"cpu": 64, "cuda": 512}
"""This many frames go through the flow at a time; a batch is filled across the videos of a shard."""

# The allocators of GPU and CPU say this when memory runs out, and so do NVIDIA's libraries where they get no memory for
# their own context; the last is PyTorch's word where no algorithm of cuDNN gets its workspace.
_SAID = (
    "out of memory",
    "can't allocate memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute this computation",
)


class AdaptiveBatches:
    """This passes frames through the flow, `size` at a time; when memory runs out, `size` is halved for good."""

    def __init__(self, device: torch.device):
        self.wanted = self.size = BATCH[device.type]

    def map(self, function: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        """Return function(frames) for frames (n, …), computed in parts.

        Raises MemoryError if there is not memory for a single frame.
        """
        if not len(frames):
            return function(frames)
        out: Tensor | None = None
        first = 0

        def step(part: Tensor) -> Tensor:
            # Memory for all results is taken within what is tried again, too.
            result = function(part)
            if len(part) == len(frames):
                return result
            whole = result.new_empty(len(frames), *result.shape[1:]) if out is None else out
            whole[first : first + len(part)] = result
            return whole

        while first < len(frames):
            part = frames[first : first + self.size]
            result = _unless_memory_is_short(step, part)
            if isinstance(result, str):
                self._halve(len(part), result)
                continue
            out = result
            first += len(part)
        assert out is not None
        return out

    def notes(self, stage: str, shard: int) -> tuple[str, ...]:
        """Return what should be reported of a shard that is done: nothing if memory was enough."""
        if self.size == self.wanted:
            return ()
        return (
            f"{stage} of shard {shard}: memory was short, so that {self.size} frames went through the flow at a time, "
            f"not {self.wanted}",
        )

    def _halve(self, tried: int, said: str) -> None:
        if tried == 1:
            raise MemoryError(f"there is no memory for a single frame to go through the flow ({said})")
        # The full size is halved, even if a smaller rest was tried, so that the flow's slices on a CPU stay the same.
        while self.size >= tried:
            self.size //= 2


def _unless_memory_is_short(function: Callable[[Tensor], Tensor], part: Tensor) -> Tensor | str:
    """Return function(part), or the first line of what was said where memory was short."""
    # This is a function of its own, so that the error, and all memory that it keeps, is gone before the next batch.
    try:
        return function(part)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        said = str(error).partition("\n")[0]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return said


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device has no more memory; PyTorch has a class of error for its own allocators on GPUs only."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)

"""Fewer frames at a time where the allocator, a real one, has no more."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s2vc.pipeline.stages.adaptive_batches import AdaptiveBatches

ABSURD = 1 << 50
"""Bytes that no machine has."""


def doubled_if(most: int) -> tuple[list[int], Callable[[Tensor], Tensor]]:
    """A function that doubles frames and takes ABSURD bytes for more than `most` of them; and what it was asked for."""
    asked: list[int] = []

    def function(frames: Tensor) -> Tensor:
        asked.append(len(frames))
        torch.empty(ABSURD if len(frames) > most else 1, dtype=torch.uint8)
        return frames * 2

    return asked, function


@pytest.mark.parametrize(
    ("frames", "most", "asked"),
    [
        (64, 64, [64]),
        (64, 20, [64, 32, 16, 16, 16, 16]),
        (40, 20, [40, 32, 16, 16, 8]),
        (9, 8, [9, 8, 1]),
        (3, 1, [3, 2, 1, 1, 1]),
    ],
)
def test_all_frames_go_through_in_halves_of_the_full_size(frames: int, most: int, asked: list[int]) -> None:
    batches = AdaptiveBatches(torch.device("cpu"))
    called, function = doubled_if(most)
    x = torch.arange(float(frames))
    assert torch.equal(batches.map(function, x), x * 2)
    assert called == asked


def test_the_next_frames_are_not_tried_at_the_full_size_again_and_it_is_told() -> None:
    batches = AdaptiveBatches(torch.device("cpu"))
    called, function = doubled_if(20)
    assert batches.notes("encode", 3) == ()
    batches.map(function, torch.zeros(64))
    called.clear()
    batches.map(function, torch.zeros(64))
    assert called == [16, 16, 16, 16]
    (note,) = batches.notes("encode", 3)
    assert note.startswith("encode of shard 3: ") and "16 frames" in note and "not 64" in note


def test_where_not_one_frame_fits_it_is_no_memory() -> None:
    with pytest.raises(MemoryError, match="single frame"):
        AdaptiveBatches(torch.device("cpu")).map(doubled_if(0)[1], torch.zeros(64))


def test_what_was_said_last_is_told_where_not_one_frame_fits() -> None:
    def broken(frames: Tensor) -> Tensor:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED\nand more")

    with pytest.raises(MemoryError, match=r"\(cuDNN error: CUDNN_STATUS_NOT_INITIALIZED\)$"):
        AdaptiveBatches(torch.device("cpu")).map(broken, torch.zeros(4))


def test_results_that_find_no_memory_are_tried_again_too() -> None:
    """A result that cannot stand beside the others is short of memory, as the flow is."""

    class Large(Tensor):
        def new_empty(self, *shape: int) -> Tensor:  # type: ignore[override]
            refused.append(shape)
            if len(refused) == 1:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
            return torch.empty(*shape)

    refused: list[tuple[int, ...]] = []
    x = torch.arange(40.0)
    batches = AdaptiveBatches(torch.device("cpu"))
    batches.size = 32
    assert torch.equal(batches.map(lambda part: (part + 1).as_subclass(Large), x), x + 1)
    assert refused == [(40,), (40,)] and batches.size == 16


def test_other_errors_are_what_they_are() -> None:
    def wrong(frames: Tensor) -> Tensor:
        return frames @ torch.zeros(7)

    with pytest.raises(RuntimeError, match=r"size mismatch|inconsistent"):
        AdaptiveBatches(torch.device("cpu")).map(wrong, torch.zeros(64))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=str,
)
def test_a_gpus_errors_are_known(error: RuntimeError) -> None:
    """There may be no GPU, but its errors can be made."""

    def full(frames: Tensor) -> Tensor:
        if len(frames) > 32:
            raise error
        return frames

    batches = AdaptiveBatches(torch.device("cpu"))
    assert len(batches.map(full, torch.zeros(64))) == 64
    assert batches.size == 32

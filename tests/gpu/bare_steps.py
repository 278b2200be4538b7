"""Measure steps of training by themselves, on one batch that lies on the device, so that no loader holds them up."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch.amp import GradScaler

from s2vc.training.clips import ClipDataset
from s2vc.training.gradients import add_gradients
from s2vc.training.loader import EpochBatches, Loader
from s2vc.training.methods import TrainingTask, build_training_task
from s2vc.training.settings import TrainingSettings
from s2vc.training.trainer import parameter_groups

REPEATS, WARM = 10, 4


def bare_steps(
    settings: TrainingSettings, clips: ClipDataset, device: torch.device, channels_last: bool = True,
    benchmark: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return the median step on a batch of resolved settings, and the memory that it takes.

    channels_last: how weights are stored, as training has them, or not. benchmark: cuDNN tries its algorithms.
    """
    repeats, warm = (REPEATS, WARM) if device.type == "cuda" else (2, 1)
    batch = next(Loader(clips, EpochBatches(clips.shards, settings.batch, settings.seed), device, 0).epoch(0))
    with cudnn_benchmark(benchmark):
        task = task_of(settings, clips, device, channels_last)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        step = step_of(task, batch, settings, device, channels_last)
        spent = [seconds(step, device) for _ in range(warm + repeats)]
    median = statistics.median(spent[warm:])
    return {
        "step, ms": 1000 * median,
        "clips/s": settings.batch / median,
        "first step, s": spent[0],
        "precision": settings.precision,
        **peak_memory(device),
    }


def task_of(settings: TrainingSettings, clips: ClipDataset, device: torch.device, channels_last: bool) -> TrainingTask:
    task = build_training_task(settings, clips, device)
    task.model.train()
    if not channels_last:
        for tensor in chain(task.model.parameters(), task.model.buffers()):
            tensor.data = tensor.data.contiguous()
    if settings.compile:
        for encoder in task.model.children():
            encoder.compile()
    return task


def step_of(
    task: TrainingTask, batch: Any, settings: TrainingSettings, device: torch.device, channels_last: bool
) -> Callable[[], None]:
    """Return a function that makes one step of the optimizer, with augmentation, as the trainer does."""
    groups, _ = parameter_groups(task.model, settings.backbone_lr)
    optimizer = torch.optim.Adam(groups, lr=1e-5)
    scaler = GradScaler(device.type, enabled=settings.precision == "float16")

    def step() -> None:
        inputs = task.inputs(batch)
        if not channels_last:
            inputs = tuple(clips.contiguous() for clips in inputs)
        optimizer.zero_grad(set_to_none=True)
        add_gradients(task.model, inputs, settings, scaler)
        scaler.step(optimizer)
        scaler.update()

    return step


def seconds(step: Callable[[], None], device: torch.device) -> float:
    """Time a step, which the trainer, too, waits for: it reads the loss."""
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@contextmanager
def cudnn_benchmark(on: bool) -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def peak_memory(device: torch.device) -> dict[str, float]:
    return {"memory, GiB": torch.cuda.max_memory_allocated(device) / 2**30} if device.type == "cuda" else {}

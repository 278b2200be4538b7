"""The gradients of a step: of all its clips at once, or part by part, which takes less memory."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from s2vc.training.moco import MoCo, Scores
from s2vc.training.settings import TrainingSettings


def add_gradients(
    model: nn.Module, inputs: tuple[Tensor, ...], settings: TrainingSettings, scaler: GradScaler
) -> tuple[Tensor, Scores]:
    """Add the gradients of a step's loss to those of the model, and return its loss () and its Scores, both detached.

    model: as a TrainingTask has it, or DistributedDataParallel around it. inputs: those of the process. settings: with
    a precision that is resolved; with `accumulate`, the model is MoCo. scaler: multiplies losses, in float16.
    """
    if settings.accumulate == 1:
        return _backward(model, inputs, settings.precision, scaler)
    losses, scores = zip(*_parts(model, inputs, settings, scaler), strict=True)
    return torch.stack(losses).sum(), _join(scores)


def _parts(
    model: nn.Module, inputs: tuple[Tensor, ...], settings: TrainingSettings, scaler: GradScaler
) -> Iterator[tuple[Tensor, Scores]]:
    """Go through a step in parts: all keys first, which have no gradients, then the queries of part after part.

    A query's loss depends on other queries by the statistics of its group alone, and no group is divided. So the
    gradients are those of the whole step, with negatives from a queue as with those from the batch.
    """
    query, key = inputs
    distributed = isinstance(model, DistributedDataParallel)
    moco = model.module if distributed else model
    assert isinstance(moco, MoCo)
    with autocast_of(query.device, settings.precision):
        keys = moco.embed_keys(key)
    parts = moco.query_parts(len(query), settings.accumulate)
    for number, (clips, groups) in enumerate(parts, 1):
        part = query[clips]
        last = number == len(parts)  # Processes add up their gradients once, after the last part.
        with nullcontext() if last or not distributed else model.no_sync():  # type: ignore[operator]
            of_part = (part, keys, clips.start, groups)
            yield _backward(model, of_part, settings.precision, scaler, len(part) / len(query))
    moco.enqueue(keys)


def _backward(
    model: nn.Module, inputs: tuple[Any, ...], precision: str, scaler: GradScaler, share: float = 1.0
) -> tuple[Tensor, Scores]:
    """Add the gradients of the mean loss of some inputs, times their share of the step."""
    with autocast_of(inputs[0].device, precision):
        scores: Scores = model(*inputs)
    loss = functional.cross_entropy(scores.logits, scores.targets) * share
    scaler.scale(loss).backward()
    return loss.detach(), scores._replace(logits=scores.logits.detach())


def autocast_of(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Give the context in which a device computes in a resolved precision."""
    return nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))


def _join(parts: tuple[Scores, ...]) -> Scores:
    """Join the scores of the parts of a step."""
    counts = torch.tensor([len(part.targets) for part in parts], device=parts[0].logits.device)
    found = torch.stack([part.batch_top1 for part in parts])
    logits, targets = (torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "targets"))
    return Scores(logits, targets, (found * counts).sum() / counts.sum())

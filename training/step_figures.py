"""The figures of a step, on their way from the device that computes it, which need not be waited for."""

import torch
from torch import Tensor

STEPS_BEHIND = {"cuda": 1}
"""On a GPU a step's figures are read once the next step is under way, so that the GPU has work meanwhile; elsewhere, at
once. They are of the same step as ever."""


def steps_behind(device: torch.device) -> int:
    """Return how many steps may be under way on a device before the figures of the first are read."""
    return STEPS_BEHIND.get(device.type, 0)


class StepFigures:
    """Holds the figures of a step, (n,), which a GPU copies to memory of the host when it gets there.

    epoch, total: the epoch of the step, from 0, and its number in the run. rate: its learning rate.
    """

    def __init__(self, figures: Tensor, epoch: int, total: int, rate: float):
        self.epoch, self.total, self.rate = epoch, total, rate
        self._figures, self._arrived = figures, None
        if figures.device.type == "cuda":
            self._figures = torch.empty(figures.shape, dtype=figures.dtype, pin_memory=True)
            self._figures.copy_(figures, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(figures.device))

    def read(self) -> list[float]:
        """Wait for this step, and no later one, and return its figures."""
        if self._arrived:
            self._arrived.synchronize()
        return [float(figure) for figure in self._figures.tolist()]


def accuracy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute top-1 and top-5: shares of rows (N, classes) whose target (N,) is the highest, or among the highest
    five."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == targets[:, None]
    return best[:, 0].float().mean(), best.any(dim=1).float().mean()

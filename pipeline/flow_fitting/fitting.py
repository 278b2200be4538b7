"""Fit the flow by maximum likelihood (eq. 2): the optimizer's steps, in a single process or in each of several."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from s2vc.pipeline.device import rank_and_world_size
from s2vc.pipeline.flow.likelihood import bits_per_dimension, dequantised, evaluated_bits
from s2vc.pipeline.flow.model import Flow
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings

CPU_SLICE = 16
"""On a CPU this many images go through the flow together; a batch of 64 at once takes 1.6 times as long."""

WATCHED = 256
"""The bits of at most this many held-out images are computed while a flow is fitted."""


@dataclass(frozen=True)
class FitRecord:
    """Records a step that is done.

    bits: bits per dimension of its batch at the training noise. held_out: the same for WATCHED held-out images by the
    moving average of the weights; NaN for steps without that evaluation. grad_norm: before clipping. skipped: how many
    steps so far had a loss or gradients that were not finite, and changed nothing.
    """

    step: int
    bits: float
    held_out: float
    lr: float
    grad_norm: float
    skipped: int


class Fitting:
    """Fits a flow step by step; holds the flow, the moving average of its weights, the optimizer and the progress.

    images: those to fit to; held: held-out ones; (N, 3, 64, 64) uint8 each. Under torch.distributed each process takes
    its part of every batch, and all have the same weights. The batch of a step depends on the settings and the step's
    number alone, so that a fit that was saved and loaded has the same losses as one that was not interrupted.
    """

    def __init__(self, flow: Flow, images: Tensor, held: Tensor, settings: FitSettings, device: torch.device):
        self.settings, self.images, self.device = settings, images, device
        self.watched = held[torch.linspace(0, len(held) - 1, min(len(held), WATCHED)).round().long()]
        self.average = copy.deepcopy(flow).to(device).requires_grad_(False)
        self.flow = flow.for_fitting(device, settings.precision)
        self.weights = list(self.flow.parameters())
        self.optimizer = torch.optim.Adam(self.weights, lr=settings.lr)
        self.rank, self.processes = rank_and_world_size()
        self.step = self.skipped = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "flow": self.flow.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned. Raises KeyError, ValueError or RuntimeError for anything else."""
        self.flow.load_state_dict(state["flow"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.skipped = int(state["step"]), int(state["skipped"])

    def run(self) -> Iterator[FitRecord]:
        """Do the steps that are left, and yield the record of each."""
        while self.step < self.settings.steps:
            yield self.next()

    def next(self) -> FitRecord:
        """Do one step and return its record."""
        rate = learning_rate(self.settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        bits = self._gradients()
        norm = nn.utils.clip_grad_norm_(self.weights, self.settings.clip)
        if torch.isfinite(bits) and torch.isfinite(norm):
            self.optimizer.step()
            self._follow()
        else:
            self.skipped += 1
        self.step += 1
        looked = self.step % self.settings.judge_every == 0 or self.step == self.settings.steps
        held = evaluated_bits(self.average, self.watched, self.settings.noise) if looked else math.nan
        return FitRecord(self.step, float(bits), held, rate, float(norm), self.skipped)

    def _gradients(self) -> Tensor:
        """Compute the gradients of a batch; return its bits per dimension, a scalar.

        On a CPU the batch goes through the flow in slices, since a CPU's caches are small.
        """
        self.optimizer.zero_grad(set_to_none=True)
        mine = self._batch()[self.rank :: self.processes]
        bits = torch.zeros((), device=self.device)
        for part in mine.split(CPU_SLICE if self.device.type == "cpu" else len(mine)):
            loss = bits_per_dimension(self.flow, part).sum() / self.settings.batch
            loss.backward()
            bits += loss.detach()
        if self.processes > 1:
            sums = nn.utils.parameters_to_vector([*(p.grad for p in self.weights if p.grad is not None), bits])
            distributed.all_reduce(sums)
            nn.utils.vector_to_parameters(sums, [*(p.grad for p in self.weights if p.grad is not None), bits])
        return bits

    def _batch(self) -> Tensor:
        """Return the images of this step, drawn with replacement, dequantised and with noise.

        Each is flipped with probability 1/2. They have shape (batch, 3, 64, 64), float32, and are on the device.
        """
        rng = np.random.default_rng([self.settings.seed, self.step])
        chosen = torch.from_numpy(rng.integers(len(self.images), size=self.settings.batch))
        flipped = torch.from_numpy(rng.random(self.settings.batch) < 0.5).to(self.device)
        images = self.images[chosen].to(self.device)
        images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        return dequantised(images, self.settings.noise, generator)

    @torch.no_grad()
    def _follow(self) -> None:
        """Update the moving average of the weights."""
        decay = min(self.settings.decay, (1 + self.step) / (10 + self.step))
        for a, p in zip(self.average.parameters(), self.weights, strict=True):
            a.lerp_(p, 1 - decay)


def learning_rate(settings: FitSettings, done: int) -> float:
    """Return the learning rate of the step after `done` steps: a linear warm-up, then a cosine to zero."""
    if done < settings.warmup:
        return settings.lr * (done + 1) / settings.warmup
    left = (done - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * left))

"""A linear classifier on frozen features (paper, linear probe; supplement, natural and shuffled videos)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.eval.defaults import BATCH, LEARNING_RATE, LINEAR_DECAYS, LINEAR_MIN_BATCH, LINEAR_MIN_STEPS, WEIGHT_DECAY
from s2vc.eval.features import Features
from s2vc.pipeline.reporting import Advance


class ProbeSample(NamedTuple):
    """Refers to a training video: a row of features, and its class, 0 to classes - 1. Each epoch sees one clip of
    it."""

    features: Features
    row: int
    target: int


class LinearProbe(nn.Module):
    """Applies L2-norm, batch norm and a linear layer: features (N, C) -> logits (N, classes)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.norm(functional.normalize(features, dim=1)))


def fit_probe(samples: Sequence[ProbeSample], classes: int, epochs: int, seed: int, advance: Advance) -> LinearProbe:
    """Train a classifier: every epoch sees each video once, by a clip and a view of it that are drawn at random.

    Adam has the settings of s2vc.eval.defaults. The last epoch's weights come back, in evaluation mode: nothing is
    selected. Needs two samples or more. The weights depend on samples, epochs and seed alone. advance: by epochs.
    """
    width = samples[0].features.windows_of(samples[0].row).shape[2]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        probe = LinearProbe(width, classes)
    optimizer = torch.optim.Adam(probe.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    milestones = [round(share * epochs) for share in LINEAR_DECAYS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    for epoch in range(epochs):
        for features, targets in _batches(samples, np.random.default_rng([seed, epoch])):
            loss = functional.cross_entropy(probe(features), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        advance(1, len(samples))
    return probe.eval()


@torch.no_grad()
def scores_of_video(classifier: nn.Module, features: Features, row: int) -> np.ndarray:
    """Average the softmax of all windows and crops of a video: (classes,) float32.

    classifier: features (N, C) -> logits (N, classes), in evaluation mode.
    """
    clips = torch.from_numpy(features.windows_of(row)).flatten(0, 1)  # windows x V, C
    return classifier(clips).softmax(dim=1).mean(dim=0).numpy()


def scores_of_videos(classifier: nn.Module, features: Features, rows: np.ndarray) -> np.ndarray:
    """Compute `scores_of_video` of each row: (len(rows), classes) float32."""
    return np.stack([scores_of_video(classifier, features, int(row)) for row in rows])


def _batches(samples: Sequence[ProbeSample], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut an epoch evenly into batches, since batch norm needs two samples at least."""
    batch = max(LINEAR_MIN_BATCH, min(BATCH, len(samples) // LINEAR_MIN_STEPS))
    order = rng.permutation(len(samples))
    for part in np.array_split(order, -(-len(samples) // batch)):
        chosen = [samples[i] for i in part]
        features = np.stack([s.features.draw(s.row, rng) for s in chosen])
        yield torch.from_numpy(features), torch.tensor([s.target for s in chosen])

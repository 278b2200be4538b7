"""A linear classifier on frozen features (paper, linear probe; supplement, natural and shuffled videos)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.eval.defaults import LEARNING_RATE, LINEAR_MIN_BATCH, LINEAR_MIN_STEPS, WEIGHT_DECAY, ClassifierRecipe
from s2vc.eval.features import Features
from s2vc.pipeline.reporting import Advance
from s2vc.training.methods import init_small

DrawEpoch = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
"""Gives the batches of an epoch, from 0: features (n, C) float32 and classes (n,) int64, with n of 2 or more."""


class ProbeSample(NamedTuple):
    """Refers to a training video: a row of features, and its class, 0 to classes - 1. Each epoch sees one clip of
    it."""

    features: Features
    row: int
    target: int


class LinearProbe(nn.Module):
    """Applies L2-norm, batch norm and a linear layer: features (N, C) -> logits (N, classes). The layer starts small,
    as published: weights from N(0, 0.01²), no bias."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, classes)
        init_small(self.linear)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.norm(functional.normalize(features, dim=1)))


def fit_probe(
    draw: DrawEpoch,
    width: int,
    classes: int,
    recipe: ClassifierRecipe,
    seed: int,
    advance: Advance,
    watch: Callable[[nn.Module, int], None] | None = None,
) -> LinearProbe:
    """Train a classifier of features (n, width), by Adam with the settings of s2vc.eval.defaults.

    The last epoch's weights come back, in evaluation mode. What they are depends on the draws, the recipe and the seed
    alone. advance: by epochs, with the clips seen. watch: called after every epoch, with the classifier in evaluation
    mode and the epochs done.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        probe = LinearProbe(width, classes)
    optimizer = torch.optim.Adam(probe.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    milestones = [round(share * recipe.epochs) for share in recipe.decays]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    for epoch in range(recipe.epochs):
        seen = 0
        for features, targets in draw(epoch):
            loss = functional.cross_entropy(probe.train()(features), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(features)
        schedule.step()
        if watch is not None:
            watch(probe.eval(), epoch + 1)
        advance(1, seen)
    return probe.eval()


def kept_features(samples: Sequence[ProbeSample], batch: int, seed: int) -> DrawEpoch:
    """Draw from features that are kept: every epoch sees each video once, by a clip and a view of it at random.

    Needs two samples or more.
    """

    def draw(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([seed, epoch])
        for part in shuffled_batches(len(samples), batch, rng):
            chosen = [samples[i] for i in part]
            features = np.stack([s.features.draw(s.row, rng) for s in chosen])
            yield torch.from_numpy(features), torch.tensor([s.target for s in chosen])

    return draw


def limited_batch(batch: int, videos: int) -> int:
    """Lower a batch for small sets, so that an epoch has some steps."""
    return min(batch, max(LINEAR_MIN_BATCH, videos // LINEAR_MIN_STEPS))


def lowered_batch_notes(batch: int, videos: int) -> list[str]:
    """Say in a line that a batch is lowered for a number of training videos; no line where it is not."""
    limited = limited_batch(batch, videos)
    line = f"batch {batch} lowered to {limited}, so that an epoch has some steps: {videos} training videos"
    return [line] if limited < batch else []


def shuffled_batches(videos: int, batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut the shuffled numbers of some videos evenly into batches of two and more, which batch norm needs, and of
    `limited_batch` at most but for an odd one."""
    steps = min(-(-videos // limited_batch(batch, videos)), videos // 2)
    return np.array_split(rng.permutation(videos), max(steps, 1))


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

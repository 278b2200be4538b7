"""A checkpoint on a cache: its features, computed once, and where its results go."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from eval.features import Features, extract
from eval.results import describe, save_result
from eval.subject import Subject
from eval.view import StoredWindows, View
from pipeline.cache import Cache
from pipeline.progress import progress
from training.loader import spare_cpus


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint on a cache, as a command was asked to look at it."""

    cache: Cache
    checkpoint: str
    subject: Subject
    split: str | None
    size: int
    frames: int
    frame_step: int
    seed: int
    out: Path
    console: Console

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def view(self, **more: Any) -> View:
        """Of the size and frames asked for; more: crops, draws, order, seed."""
        return View(self.size, self.frames, self.frame_step, **more)

    def features(self, rows: np.ndarray, view: View, title: str = "features", cache: Cache | None = None) -> Features:
        """Of rows of the cache, or of another, computed where they are not at hand, with progress."""
        return features_of(self.subject, cache or self.cache, rows, view, self.out, self.console, title)

    def save(
        self, task: str, split: str, numbers: dict[str, float], details: dict[str, Any] | None = None, **how: Any
    ) -> Path:
        """The result's JSON and row, with all that describes it; how: what is the task's own."""
        described = describe(
            task,
            self.cache,
            split,
            checkpoint=self.checkpoint,
            backbone=self.subject.name,
            size=self.size,
            frames=self.frames,
            frame_step=self.frame_step,
            eval_seed=self.seed,
            **self.subject.made,
            **how,
        )
        return save_result(self.out, described, numbers, details)


def features_of(
    subject: Subject, cache: Cache, rows: np.ndarray, view: View, out: Path, console: Console, title: str
) -> Features:
    """Features kept in OUT/features, computed with progress where they are not there."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with progress(title, len(StoredWindows(cache, rows, view)), "windows", console) as advance:
        return extract(cache, rows, subject.backbone, view, out / "features", device, spare_cpus(), advance)

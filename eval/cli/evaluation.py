"""What the commands on a checkpoint share: their options, and what comes of them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console

from eval.features import Features, extract
from eval.results import describe, save_result
from eval.subject import Subject, load_subject
from eval.view import StoredWindows, View
from pipeline.cache import Cache
from pipeline.cli.options import FOLDER, cache_argument
from pipeline.progress import progress
from training.backbones import BACKBONES
from training.loader import spare_cpus
from training.settings import CLIP_LENGTHS, SIZES

split_option = click.option("--split", default=None, help="Split column.  [default: the first]")
seed_option = click.option("--seed", type=click.IntRange(0), default=0, help="Of all that is drawn at random.")
out_option = click.option("--out", type=FOLDER, default=Path("results"), help="Folder for numbers and features.")

_OPTIONS = (
    cache_argument,
    click.argument("checkpoint"),
    split_option,
    click.option("--backbone", type=click.Choice(list(BACKBONES)), help="[default: the one that is in the checkpoint]"),
    click.option("--size", type=click.IntRange(32), help="Pixels.  [default: the paper's for the backbone]"),
    click.option("--frames", type=click.IntRange(2), help="Of a window.  [default: the paper's for the backbone]"),
    click.option("--frame-step", type=click.IntRange(1), default=1),
    seed_option,
    out_option,
)


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


def takes_checkpoint(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: a function on an Evaluation, and on what is its own, gets the arguments and options of all of them."""

    @functools.wraps(command)
    def with_evaluation(
        cache: Path,
        checkpoint: str,
        split: str | None,
        backbone: str | None,
        size: int | None,
        frames: int | None,
        frame_step: int,
        seed: int,
        out: Path,
        **own: Any,
    ) -> None:
        opened = Cache(cache)
        subject = load_subject(checkpoint, backbone, seed)
        size, frames = size or SIZES[subject.name], frames or CLIP_LENGTHS[subject.name]
        console = Console()
        command(Evaluation(opened, checkpoint, subject, split, size, frames, frame_step, seed, out, console), **own)

    for option in reversed(_OPTIONS):
        with_evaluation = option(with_evaluation)
    return with_evaluation

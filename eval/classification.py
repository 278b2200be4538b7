"""How well a classifier does: accuracies over videos and by class, and which classes it takes for which."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2vc.pipeline.storage.figures import save_figure

TOP = 5
MAX_NAMED_CLASSES = 60
"""Names, and numbers, of more classes cannot be read in the picture of a confusion matrix."""


@dataclass(frozen=True)
class Classification:
    """Holds scores (N, classes) of each test video, higher is likelier; targets (N,) int64, its class; and the classes'
    names. epoch: whose weights were tested, where that was selected on validation videos."""

    scores: np.ndarray
    targets: np.ndarray
    names: list[str]
    epoch: int | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """Compute top1, top5 (where there are more classes than that), and top1 averaged over the classes."""
        ranked = np.argsort(-self.scores, axis=1, kind="stable")
        hits = ranked == self.targets[:, None]
        numbers = {"top1": float(hits[:, 0].mean())}
        if len(self.names) > TOP:
            numbers["top5"] = float(hits[:, :TOP].any(axis=1).mean())
        numbers["class_mean"] = float(np.nanmean(self.per_class))
        return numbers

    @property
    def per_class(self) -> np.ndarray:
        """Compute the share of each class's videos that are recognised: (classes,) float64, NaN without test videos."""
        matrix = self.confusion
        with np.errstate(invalid="ignore"):
            return np.diag(matrix) / matrix.sum(axis=1)

    @property
    def confusion(self) -> np.ndarray:
        """Count the videos of class i that were taken for class j: (classes, classes) int64."""
        matrix = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(matrix, (self.targets, self.scores.argmax(axis=1)), 1)
        return matrix

    @property
    def details(self) -> dict[str, Any]:
        """Give what the JSON has besides: accuracy by class, None without test videos, and the confusion matrix by
        rows."""
        return {
            "per_class": {
                n: None if np.isnan(a) else float(a) for n, a in zip(self.names, self.per_class, strict=True)
            },
            "confusion": self.confusion.tolist(),
            "classes": self.names,
            **({} if self.epoch is None else {"selected_epoch": self.epoch}),
        }

    def by_video(self, videos: list[str]) -> list[dict[str, Any]]:
        """Describe each test video for the JSON by its id, its class, what it was taken for, and the score of that."""
        taken = self.scores.argmax(axis=1)
        return [
            {"video_id": video, "class": self.names[target], "taken_for": self.names[found], "score": float(score)}
            for video, target, found, score in zip(videos, self.targets, taken, self.scores.max(axis=1), strict=True)
        ]

    def plot(self, path: Path, title: str) -> None:
        """Plot the confusion matrix as a PNG: colours are shares of a row's class, numbers are videos (none is 0)."""
        from matplotlib.figure import Figure

        matrix = self.confusion
        rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        side = min(14.0, 3.5 + 0.28 * len(self.names))
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(rates, vmin=0, vmax=1, cmap="Blues")
        if len(self.names) <= MAX_NAMED_CLASSES:
            _write_counts(axes, matrix, rates, cell_inches=0.7 * side / len(self.names))
            places = range(len(self.names))
            axes.set_xticks(places, self.names, rotation=90)
            axes.set_yticks(places, self.names)
        axes.set_xlabel("taken for")
        axes.set_ylabel("class")
        axes.set_title(title)
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class (numbers: videos)")
        save_figure(figure, path)


def _write_counts(axes: Any, matrix: np.ndarray, rates: np.ndarray, cell_inches: float) -> None:
    """Write the counts that are not 0 into their cells, as large as three digits fit, white on what is dark."""
    size = min(9.0, 0.4 * 72 * cell_inches)
    for i, j in np.argwhere(matrix):
        axes.text(
            j, i, str(matrix[i, j]), ha="center", va="center", fontsize=size, color="w" if rates[i, j] > 0.5 else "k"
        )

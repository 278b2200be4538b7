"""How a classification is written down and told, the same for every task that ends in one."""

from typing import Any

from rich.table import Table

from eval.classification import Classification
from eval.cli.evaluation import Evaluation
from eval.labelled import Labelled
from eval.results import TABLE

TOLD_CLASSES = 12
"""Classes whose accuracies the terminal shows; all are in the JSON."""


def tell_classification(
    evaluation: Evaluation, task: str, tested: Labelled, result: Classification, **how: Any
) -> None:
    """JSON with accuracies by class, the confusion matrix as a PNG, a row of the table, and the numbers on screen."""
    videos = evaluation.cache.index["video_id"].to_numpy()[tested.rows]
    details = {**result.details, "videos": _videos(videos.tolist(), result)}
    path = evaluation.save(task, tested.split, result.numbers, details, **how)
    numbers = ", ".join(f"{name} {value:.1%}" for name, value in result.numbers.items())
    result.plot(path.with_suffix(".png"), f"{task}: {numbers}")
    console = evaluation.console
    title = f"{task}, {len(tested.rows)} test videos"
    table = Table("class", "test videos", "found", title=title, title_justify="left")
    for name, counts, share in zip(result.names, result.confusion, result.per_class, strict=True):
        if counts.sum():
            table.add_row(name, str(counts.sum()), f"{share:.1%}")
    if len(result.names) <= TOLD_CLASSES:
        console.print(table)
    console.print(f"{numbers} (chance {1 / len(result.names):.1%})", highlight=False)
    console.print(f"{path}, {path.stem}.png, {path.parent / TABLE}", highlight=False)


def _videos(videos: list[str], result: Classification) -> list[dict[str, Any]]:
    """Class, what it was taken for, and the score of that: for intervals, and for whoever asks which videos fail."""
    taken = result.scores.argmax(axis=1)
    return [
        {"video_id": video, "class": result.names[target], "taken_for": result.names[found], "score": float(score)}
        for video, target, found, score in zip(videos, result.targets, taken, result.scores.max(axis=1), strict=True)
    ]

"""How a classification is printed, the same for every task that ends in one."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from s2vc.eval.classification import Classification
from s2vc.eval.cli.print_saved import print_saved
from s2vc.pipeline.console.progress import count
from s2vc.pipeline.console.terminal import print_result

MAX_SHOWN_CLASSES = 12
"""The terminal shows the accuracies of so many classes at most; all are in the JSON."""

WORDS = {"top1": "top-1", "top5": "top-5", "class_mean": "mean of the classes' top-1"}
"""What the numbers of a classification are called where they are printed."""


def print_classification(console: Console, path: Path, result: Classification) -> None:
    """Print accuracies by class where they are few, the numbers, and what was written."""
    table = Table("class", "test videos", "found", title=count(len(result.targets), "test video"), title_justify="left")
    for name, counts, share in zip(result.names, result.confusion, result.per_class, strict=True):
        if counts.sum():
            table.add_row(name, str(counts.sum()), f"{share:.1%}")
    if len(result.names) <= MAX_SHOWN_CLASSES:
        console.print(table)
    numbers = ", ".join(f"{WORDS[name]} {value:.1%}" for name, value in result.numbers.items())
    print_result(console, f"{numbers} (chance for top-1 {1 / len(result.names):.1%})")
    print_saved(console, path, path.with_suffix(".png"))

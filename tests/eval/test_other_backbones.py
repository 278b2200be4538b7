"""Every task reads every backbone that others publish weights for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

TASKS = {
    "retrieval": [],
    "linear": ["--epochs", 1, "--train-views", 1, "--batch", 4],
    "finetune": ["--epochs", 1, "--batch", 4],
    "order": ["--epochs", 1],
    "similarity": ["--classes", 2, "--pairs", 2],
    "saliency": ["--videos", 1],
}
NAMES = ("r3d50", "r2plus1d18", "r3d18tv", "slow_r50")


@pytest.mark.parametrize(
    ("task", "name"),
    [
        pytest.param(task, name, marks=[] if place == number == 0 else pytest.mark.slow)
        for place, task in enumerate(TASKS)
        for number, name in enumerate(NAMES)
    ],
)
def test_a_task_reads_a_backbone(
    task: str, name: str, labelled_cache: Path, tmp_path: Path, evaluate: Callable[..., Result]
) -> None:
    size = [] if task == "similarity" else ["--size", 32, "--frames", 4, "--frame-step", 1]
    how = ["--backbone", name, *size, "--out", tmp_path, *TASKS[task]]
    result = evaluate(task, labelled_cache, "random", *how)
    assert result.exit_code == 0, result.output

"""A run is tested by the split that it was trained on; whoever tests it on its training videos is told."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from s2vc.training.prepare import prepare_run
from s2vc.training.trainer import train
from tests.eval.conftest import Evaluate

CPU = torch.device("cpu")
RETRIEVAL = ["retrieval"]
TASKS = [RETRIEVAL, ["order", "--epochs", "1"], ["saliency", "--size", "64"]]
TURNED = {"train": "test", "test": "train"}


@pytest.fixture(scope="module")
def two_splits(labelled_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos: split1 trains on six of them, split2 on three of the four others and on one of the six."""
    folder = tmp_path_factory.mktemp("two") / "cache"
    shutil.copytree(labelled_cache, folder)
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    index["split2"] = index["split1"].replace(TURNED)
    index.loc[index["video_id"].isin(["00.mp4", "13.mp4"]), "split2"] = ["train", ""]
    index.to_csv(folder / "index.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def runs(two_splits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real runs of a step each, by the split that they were trained on."""
    folder = tmp_path_factory.mktemp("runs")
    for split in ("split1", "split2", "all"):
        settings = {
            "method": "moco", "cache": str(two_splits), "split": split, "batch": 4, "size": 32, "clip_length": 4,
            "epochs": 1, "loader_workers": 0,
        }  # fmt: skip
        run = prepare_run([settings], folder / split, CPU)
        train(run.settings, run.clips, run.folder, CPU)
    return {split: folder / split for split in ("split1", "split2", "all")}


@pytest.mark.parametrize(
    ("task", "trained", "options", "tested", "warned"),
    [
        (RETRIEVAL, "split1", [], "split1", None),
        (RETRIEVAL, "split2", [], "split2", None),
        (RETRIEVAL, "split2", ["--split", "split1"], "split1", "3 of the 4 test videos of split1 were trained on"),
        (RETRIEVAL, "split1", ["--split", "split2"], "split2", "5 of the 5 test videos of split2 were trained on"),
        *((task, "all", [], "split1", "4 of the 4 test videos of split1 were trained on") for task in TASKS),
        (RETRIEVAL, "random", [], "split1", None),
    ],
)
def test_videos_that_were_trained_on_are_counted(
    task: Sequence[str],
    trained: str,
    options: Sequence[str],
    tested: str,
    warned: str | None,
    evaluate: Evaluate,
    two_splits: Path,
    runs: dict[str, Path],
    tmp_path: Path,
) -> None:
    checkpoint = runs.get(trained, "random")
    shape = ["--size", 32, "--frames", 4] if trained == "random" else []
    result = evaluate(task[0], two_splits, checkpoint, *task[1:], *options, *shape, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["split"] == tested
    warnings = [line for line in result.output.splitlines() if "trained on, since" in line]
    assert len(warnings) == (warned is not None)
    assert warned is None or warned in warnings[0]


def test_of_another_cache_nobody_knows(
    evaluate: Evaluate, labelled_cache: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    """It has the column of no run but split1's, and split1 names other videos than a run on more of them had."""
    how = ["--out", tmp_path]
    result = evaluate("retrieval", labelled_cache, runs["split2"], *how)
    assert result.exit_code == 0, result.output
    line = "the run was trained by column split2 of another cache: these test videos may be among them"
    assert line in result.output
    result = evaluate("retrieval", labelled_cache, runs["split1"], *how)
    assert result.exit_code == 0 and "may be among" not in result.output

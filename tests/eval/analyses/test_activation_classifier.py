"""A classifier of a run is asked for the class of a video by its name: caches number classes each in their own way."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from s2vc.eval.analyses.activation_classifier import classified_rows
from s2vc.eval.defaults import CAM_FINETUNE
from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.backbones import build_backbone


@pytest.fixture
def run(labelled_cache: Path, tmp_path: Path) -> Path:
    """A run's checkpoint that learned the classes c0 and c1 of the cache: outputs 0 and 1."""
    state = {f"encoder_q.0.{name}": value for name, value in build_backbone("r3d18").state_dict().items()}
    state |= {"encoder_q.2.weight": torch.zeros(2, 512), "encoder_q.2.bias": torch.zeros(2)}
    settings = f"method: supervised\nbackbone: r3d18\ncache: {json.dumps(str(labelled_cache))}\nlabel: label\n"
    torch.save({"state_dict": state, "settings": settings}, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def renamed(cache: Path, out: Path, names: dict[str, tuple[str, str]]) -> Cache:
    """A copy of a cache whose classes have other numbers and names."""
    shutil.copytree(cache, out)
    index = pd.read_csv(out / "index.csv", dtype=str, keep_default_na=False)
    index["label"], index["class_name"] = zip(*(names[name] for name in index["class_name"]), strict=True)
    index.to_csv(out / "index.csv", index=False)
    return Cache(out)


def evaluation(cache: Cache, run: Path, out: Path) -> Evaluation:
    backbone = load_evaluated_backbone(str(run))
    return Evaluation(cache, str(run), backbone, None, 32, 8, 1, 0, out, Console(quiet=True))


def test_classes_are_those_of_the_runs_own_cache_by_name(labelled_cache: Path, run: Path, tmp_path: Path) -> None:
    turned = renamed(labelled_cache, tmp_path / "turned", {"c0": ("1", "c0"), "c1": ("0", "c1")})
    asked = evaluation(turned, run, tmp_path)
    rows = np.arange(len(turned.index))
    targets = classified_rows(asked, rows, CAM_FINETUNE, 1, 1).targets
    names = turned.index["class_name"]
    assert targets == {row: (("c0", "c1").index(names[row]), names[row]) for row in rows}


def test_classes_that_the_run_did_not_learn_are_refused(labelled_cache: Path, run: Path, tmp_path: Path) -> None:
    other = renamed(labelled_cache, tmp_path / "other", {"c0": ("0", "run"), "c1": ("1", "walk")})
    with pytest.raises(UserError, match="does not know the class of 10 videos"):
        classified_rows(evaluation(other, run, tmp_path), np.arange(10), CAM_FINETUNE, 1, 1)

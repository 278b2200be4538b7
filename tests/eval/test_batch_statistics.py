"""A backbone without running statistics: evaluated by those of the training videos, each video by itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from s2vc.eval.batch_statistics import set_batch_statistics
from s2vc.eval.cli import finetune_session
from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.features import extract_features
from s2vc.eval.supervised import load_classifier
from s2vc.eval.view import View, WindowCrops
from s2vc.pipeline.cache import Cache
from s2vc.training.backbones import build_backbone
from s2vc.training.batch_statistics import BATCH
from s2vc.training.prepare import prepare_run
from s2vc.training.trainer import train
from tests.eval.conftest import Evaluate

CPU = torch.device("cpu")
VIEW = View(32, 10)


class Norms(nn.Module):
    """Batch norm of the pixels without running statistics, and a ReLU, so that features are no constants."""

    feature_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).relu()


def training_rows(cache: Cache) -> np.ndarray:
    return np.flatnonzero((cache.index["split1"] == "train") & (cache.index["frames"] > 0))


def middle_clips(cache: Cache, rows: np.ndarray, still: bool = False) -> Tensor:
    """The centre crops of the middle windows of rows, the plain way: (N, 3, T, size, size). still: of their middle
    frame throughout."""
    clips = []
    for row in rows:
        frames = cache.frames(cache.index["video_id"][row])
        windows = VIEW.rule.windows(len(frames))
        window = windows[len(windows) // 2]
        clips.append(torch.from_numpy(frames[[window[5]] * 10 if still else window]))
    return WindowCrops(VIEW)(torch.stack(clips), 0, 0)


def test_the_statistics_are_those_of_the_training_videos(labelled_cache: Path) -> None:
    cache, backbone = Cache(labelled_cache), Norms()
    set_batch_statistics(backbone, cache, None, VIEW, CPU, workers=0)
    rows = training_rows(cache)
    assert len(rows) == 6 <= BATCH
    clips = middle_clips(cache, rows).double()
    assert backbone.norm.running_mean is not None and backbone.norm.running_var is not None
    np.testing.assert_allclose(backbone.norm.running_mean, clips.mean(dim=(0, 2, 3, 4)), atol=1e-5)
    np.testing.assert_allclose(backbone.norm.running_var, clips.transpose(0, 1).flatten(1).var(dim=1), rtol=1e-4)


def test_a_cache_without_a_split_is_measured_whole(labelled_cache: Path) -> None:
    cache, backbone = Cache(labelled_cache), Norms()
    set_batch_statistics(backbone, cache, "all", VIEW, CPU, workers=0)
    clips = middle_clips(cache, np.arange(len(cache.index))).double()
    assert backbone.norm.running_mean is not None
    np.testing.assert_allclose(backbone.norm.running_mean, clips.mean(dim=(0, 2, 3, 4)), atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_features_of_a_video_do_not_depend_on_others(workers: int, labelled_cache: Path, tmp_path: Path) -> None:
    cache = Cache(labelled_cache)
    torch.manual_seed(0)
    backbone = build_backbone("r2d3d18")
    set_batch_statistics(backbone, cache, None, VIEW, CPU, workers)
    alone = extract_features(cache, np.array([3]), backbone, VIEW, tmp_path / "alone", CPU, 0).windows_of(3)
    among = extract_features(cache, np.arange(10), backbone, VIEW, tmp_path / "among", CPU, 0).windows_of(3)
    assert alone.shape[2] == 256 and alone.std() > 0
    np.testing.assert_allclose(alone, among, atol=1e-4)


def test_a_backbone_with_statistics_of_its_own_keeps_them(labelled_cache: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("r3d18")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    set_batch_statistics(backbone, Cache(labelled_cache), None, VIEW, CPU, workers=0)
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


@pytest.mark.parametrize("still", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_classifier_of_stills_has_the_statistics_of_stills(
    still: bool, labelled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of a moving clip differ, and those of a still one do not: deeper layers have other statistics of each."""
    loaded: list[Any] = []

    def keep(path: Path) -> Any:
        loaded.extend(load_classifier(path))
        return loaded

    monkeypatch.setattr(finetune_session, "load_classifier", keep)
    cache = Cache(labelled_cache)
    evaluated = load_evaluated_backbone("random", "r2d3d18")
    evaluation = Evaluation(cache, "random", evaluated, None, 32, 10, 1, 0, tmp_path, Console(quiet=True))
    order = "still" if still else "natural"
    finetune_session.train_and_test(
        evaluation, "static-bias", *evaluation.labelled_parts(), order, 1, 3, still=still, dropout=0.0
    )
    backbone = loaded[0].backbone
    norm = backbone.layer3[0].bn1
    measured = norm.running_var.clone()
    norm.register_forward_hook(lambda norm, inputs, _: loaded.append(inputs[0]))
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm3d)]
    for layer in norms:
        layer.track_running_stats = False  # In training, the batch's own: all six videos go through as one batch.
    with torch.no_grad():
        backbone.train()(middle_clips(cache, training_rows(cache), still))
    expected = loaded[-1].transpose(0, 1).flatten(1).var(dim=1)
    np.testing.assert_allclose(measured, expected, rtol=1e-3)


@pytest.fixture(scope="module")
def dpc_run(labelled_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of DPC, three steps."""
    settings = {
        "method": "dpc", "cache": str(labelled_cache), "batch": 2, "size": 32, "blocks": 2, "block_length": 5,
        "predicted": 1, "frame_step": 1, "epochs": 1, "loader_workers": 0,
    }  # fmt: skip
    run = prepare_run([settings], tmp_path_factory.mktemp("dpc") / "run", CPU)
    train(run.settings, run.clips, run.folder, CPU)
    return run.folder.root


SMALL = ["--size", 32, "--frames", 10, "--frame-step", 1]


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("retrieval", []),
        ("linear", ["--epochs", 2, "--train-views", 1]),
        ("order", ["--epochs", 2]),
        ("finetune", ["--epochs", 1, "--batch", 3]),
        ("saliency", ["--size", 64]),
    ],
)
def test_a_run_of_dpc_is_evaluated(
    task: str, more: list[object], dpc_run: Path, labelled_cache: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    result = evaluate(task, labelled_cache, dpc_run, *SMALL, *more, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    (path,) = (p for p in tmp_path.glob("*.json") if p.stem.startswith(task))
    content = json.loads(path.read_text())
    assert (content["method"], content["backbone"], content["frame_step"]) == ("dpc", "r2d3d18", 1)
    assert "head" not in content and "key_augment" not in content
    numbers = [v for k, v in content.items() if isinstance(v, float) and k != "alpha"]
    assert numbers and np.isfinite(numbers).all()


@pytest.mark.parametrize("of_a_run", [True, False])
def test_windows_are_those_of_the_run_or_dpc_s(
    of_a_run: bool, dpc_run: Path, labelled_cache: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    """Two blocks of 5 frames, 1 apart, by the run's settings; eight of them, 3 apart, in DPC's paper."""
    checkpoint = [dpc_run] if of_a_run else ["random", "--backbone", "r2d3d18"]
    result = evaluate("retrieval", labelled_cache, *checkpoint, "--size", 32, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    content = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert (content["frames"], content["frame_step"]) == ((10, 1) if of_a_run else (40, 3))

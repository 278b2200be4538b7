"""Retrieval while a run trains: on validation videos alone, and without a trace in what is learned."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training import monitor
from s2vc.training.methods import Classifier
from s2vc.training.monitor import RetrievalMonitor
from s2vc.training.settings import TrainingSettings

SETTINGS = TrainingSettings(precision="float32", size=32, clip_length=4)
CPU = torch.device("cpu")
PARTS = {
    "slide/a.mp4": "train",
    "slide/b c.mp4": "val",
    "orbit/a.mp4": "train",
    "orbit/short.mp4": "val",
    "orbit/still.mp4": "test",
    "orbit/missing.mp4": "train",
}


class Frames(nn.Module):
    """A backbone whose features are the first frame of a clip, and that counts how often it looks."""

    feature_size = 3 * 32 * 32

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.weight * x[:, :, 0].flatten(1)[..., None, None, None]


def with_parts(cache_path: Path, folder: Path, parts: dict[str, str]) -> Path:
    """A copy of the cache whose videos have other parts of split1."""
    shutil.copytree(cache_path, folder)
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"split1": parts[row["video_id"]]} for row in rows)
    return folder


@pytest.fixture(scope="module")
def parted(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_parts(cache_path, tmp_path_factory.mktemp("parted") / "cache", PARTS)


def test_validation_videos_are_looked_for_among_training_videos(parted: Path) -> None:
    cache = Cache(parted)
    model = Classifier(backbone := Frames(), 2)
    found = RetrievalMonitor(cache, SETTINGS, CPU, 0)(model, 7, 3)
    (clips,) = backbone.seen
    assert clips.shape == (4, 3, 4, 32, 32), "two training and two validation videos; no test video"
    features, labels = {}, {}
    for video, clip in zip(["slide/a.mp4", "orbit/a.mp4", "slide/b c.mp4", "orbit/short.mp4"], clips, strict=False):
        vector = clip[:, 0].flatten().double().numpy()
        features[video], labels[video] = vector / np.linalg.norm(vector), video.split("/")[0]
    train, val = (sorted(v for v in features if PARTS[v] == part) for part in ("train", "val"))
    right = [labels[max(train, key=lambda t, v=v: features[t] @ features[v])] == labels[v] for v in val]
    assert (found.step, found.epoch, found.retrieval_r1) == (7, 3, np.mean(right))
    assert found.retrieval_r5 == 1, "among all"


class Norms(nn.Module):
    """Batch norm of the pixels without running statistics, which keeps what it is given and gives."""

    feature_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(3, track_running_stats=False)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        found = self.norm(x)
        self.seen.append((x.detach(), found.detach()))
        return torch.as_tensor(found)


@pytest.mark.parametrize("batch", [1, 16])
def test_features_of_a_video_do_not_depend_on_others(batch: int, parted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "BATCH", batch)
    model = Classifier(backbone := Norms(), 2)
    RetrievalMonitor(Cache(parted), SETTINGS, CPU, 0)(model, 7, 3)
    looked = backbone.seen[1:]
    assert len(looked) == -(-4 // batch)
    clips, found = (torch.cat(parts).double() for parts in zip(*looked, strict=True))
    training = clips[:2].transpose(0, 1).flatten(1)  # The two training videos come first; validation has no say.
    mean, variance = (v[:, None, None, None] for v in (training.mean(dim=1), training.var(dim=1)))
    np.testing.assert_allclose(found, (clips - mean) / (variance + 1e-5).sqrt(), atol=1e-4)
    assert backbone.norm.running_mean is None and not backbone.norm.track_running_stats, "training goes on as before"
    assert "encoder_q.0.norm.running_mean" not in model.state_dict()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            PARTS | {"orbit/still.mp4": ""},
            "column split1 has no test videos, so that evaluation tests on its val videos",
        ),
        (dict.fromkeys(PARTS, "train") | {"orbit/still.mp4": "test"}, "needs val videos with frames and a label"),
    ],
)
def test_what_is_tested_on_is_never_looked_at(
    parts: dict[str, str], message: str, cache_path: Path, tmp_path: Path
) -> None:
    cache = Cache(with_parts(cache_path, tmp_path / "cache", parts))
    with pytest.raises(UserError, match=message):
        RetrievalMonitor(cache, SETTINGS, CPU, 0)


@pytest.mark.parametrize("method", [["moco", "--clip-length", 2], ["dpc", "--blocks", 2, "--predicted", 1]])
def test_what_is_learned_is_the_same_with_and_without(
    method: list[object], cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    parts = dict.fromkeys(PARTS, "train") | {"slide/b c.mp4": "val", "orbit/missing.mp4": "test"}
    cache = with_parts(cache_path, tmp_path / "cache", parts)
    how = ["--method", *method, "--batch", 2, "--size", 32, "--epochs", 3, "--device", "cpu"]
    how += ["--loader-workers", 0]
    plain = train_cli(cache, *how, "--out", tmp_path / "plain")
    watched = train_cli(cache, *how, "--out", tmp_path / "watched", "--monitor", "retrieval", "--monitor-every", 2)
    assert plain.exit_code == watched.exit_code == 0, plain.output + watched.output
    states = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["state_dict"] for name in ("plain", "watched")
    ]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    with (tmp_path / "watched" / "monitor.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [("2", "4"), ("3", "6")]
    assert "epoch 2: 1 validation videos among 4 of training: R@1 " in watched.output
    assert not (tmp_path / "plain" / "monitor.csv").exists()

"""Measurements in Weights & Biases and MLflow, by the libraries themselves, offline."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import Result

from s2vc.training.recorder import run_recorder
from s2vc.training.run_folder import RunFolder, TrainingStep
from s2vc.training.settings import TrainingSettings, merge_settings
from s2vc.training.trackers import LenientTracker


def record_steps(folder: Path, settings: TrainingSettings, steps: Iterator[int], done: int) -> None:
    """Record steps whose loss is a tenth of their number."""
    folder.mkdir(exist_ok=True)
    failures: list[str] = []
    with run_recorder(RunFolder(folder), settings, done, failures.append) as record:
        for step in steps:
            record(TrainingStep(step, 1, step / 10, 0.5, 1.0, float("nan"), 1e-3, 40.0, 0.0))
    assert not failures


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_line(
    name: str, cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    result = train_cli(cache_path, "--method", "moco", "--log", name, "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert f"this needs {name}, which is not installed: pip install 's2vc[log]'" in result.output
    assert not (tmp_path / "run").exists()


def test_words_that_are_no_logs_are_refused() -> None:
    with pytest.raises(Exception, match="log is one of wandb, mlflow, not 'comet'"):
        merge_settings({"method": "moco", "log": ["comet"]})


class Failing:
    """A tracker whose server is gone after the first step."""

    def __init__(self) -> None:
        self.calls = 0

    def add(self, values: Mapping[str, float], step: int) -> None:
        self.calls += 1
        if step > 1:
            raise ConnectionError("no route to host\nand more")

    def close(self) -> None:
        raise AssertionError("it has failed before")


def test_a_tracker_that_fails_ends_no_run() -> None:
    said: list[str] = []
    tracker = LenientTracker(failing := Failing(), said.append)
    for step in (1, 2, 3):
        tracker.add({"loss": 1.0}, step)
    tracker.close()
    assert failing.calls == 2 and said == ["Failing fails, and gets no more of this run: no route to host"]


def test_wandb_has_every_step_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs wandb (s2vc[log]), which is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    record_steps(tmp_path / "run", TrainingSettings(log=("wandb",)), iter((1, 2, 3)), 0)
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert content.count(b"clips_per_second") >= 3 and b"batch_top1" not in content, "NaN is not sent"
    assert (tmp_path / "run" / "wandb.id").read_text().strip().encode() in content


def test_mlflow_has_every_step_and_a_resumed_run_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow (s2vc[log]), which is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    settings = TrainingSettings(log=("mlflow",), lr=0.25)
    record_steps(tmp_path / "run", settings, iter((1, 2)), 0)
    record_steps(tmp_path / "run", settings, iter((3,)), 2)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("s2vc")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run" and run.data.params["lr"] == "0.25" and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert "batch_top1" not in run.data.metrics, "NaN is not sent"

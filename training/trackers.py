"""Other places for a run's measurements: Weights & Biases and MLflow, each imported only where it is asked for."""

import dataclasses
import importlib
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage import files
from s2vc.training.settings import TrainingSettings

PROJECT = "s2vc"
"""Runs belong to a project, or experiment, of this name where the environment names no other."""


class Tracker(Protocol):
    """Takes measurements by name after a step, counted from 1."""

    def add(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class WandbTracker:
    """Sends measurements to Weights & Biases, as its environment says: WANDB_MODE=offline keeps them in the folder of
    the run, WANDB_PROJECT names the project. A run that is resumed goes on as the same run there."""

    def __init__(self, folder: Path, settings: TrainingSettings):
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            id=_remembered(folder, "wandb", lambda: secrets.token_hex(8)),
            resume="allow",
            dir=str(folder),
            config=dataclasses.asdict(settings),
        )

    def add(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class MlflowTracker:
    """Sends measurements to MLflow, as its environment says: MLFLOW_TRACKING_URI names a server or a file,
    MLFLOW_EXPERIMENT_NAME the experiment. A run that is resumed goes on as the same run there."""

    def __init__(self, folder: Path, settings: TrainingSettings):
        mlflow = importlib.import_module("mlflow")
        self._client, self._metric = mlflow.MlflowClient(), mlflow.entities.Metric
        self._id = _remembered(folder, "mlflow", lambda: self._begin(folder, settings))

    def _begin(self, folder: Path, settings: TrainingSettings) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        run = str(self._client.create_run(experiment, run_name=folder.name).info.run_id)
        for key, value in dataclasses.asdict(settings).items():
            self._client.log_param(run, key, value)
        return run

    def add(self, values: Mapping[str, float], step: int) -> None:
        now = time.time_ns() // 1_000_000
        self._client.log_batch(self._id, [self._metric(key, value, now, step) for key, value in values.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


TRACKERS: dict[str, Any] = {"wandb": WandbTracker, "mlflow": MlflowTracker}
"""By the names that --log has for them."""


def check_trackers(names: Sequence[str]) -> None:
    """Import what trackers need. Raises ModuleNotFoundError, before anything is trained, for one that is not there."""
    for name in names:
        importlib.import_module(name)


def open_trackers(folder: Path, settings: TrainingSettings) -> list[Tracker]:
    """Open the trackers that a run's settings name, each once. Raises UserError for one that cannot be opened."""
    opened: list[Tracker] = []
    for name in dict.fromkeys(settings.log):
        try:
            opened.append(TRACKERS[name](folder, settings))
        except Exception as error:  # What a server, a file or a login makes a library raise is its own.
            raise UserError(f"--log {name}: {_first_line(error)}") from error
    return opened


class LenientTracker:
    """Hands on to a tracker until it fails, which ends no run: then it says so once, and hands on nothing more."""

    def __init__(self, tracker: Tracker, announce: Callable[[str], None]):
        self._tracker, self._announce, self._failed = tracker, announce, False

    def add(self, values: Mapping[str, float], step: int) -> None:
        self._try(lambda: self._tracker.add(values, step))

    def close(self) -> None:
        self._try(self._tracker.close)

    def _try(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:
            self._failed = True
            name = type(self._tracker).__name__
            self._announce(f"{name} fails, and gets no more of this run: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _remembered(folder: Path, name: str, begin: Callable[[], str]) -> str:
    """Read a tracker's id of the run from the run's folder; where there is none, begin one there, and keep its id."""
    path = folder / f"{name}.id"
    if not path.exists():
        files.write_text(path, begin() + "\n")
    return path.read_text(encoding="utf-8").strip()

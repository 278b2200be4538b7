"""A folder of results as its evaluations left it: a JSON each, the table that lists them, and figures."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from s2vc.eval.labelled import UNSEEN
from s2vc.eval.report.runs import epochs_done, read_run_settings, read_run_steps, starting_weights
from s2vc.eval.results_folder import TABLE, read_table
from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage import files
from s2vc.training.backbones.checkpoints import read_backbone, weights_hash
from s2vc.training.run_folder import RunFolder
from s2vc.training.settings import TrainingSettings

DESCRIPTION = (
    "result", "task", "cache", "split", "stored", "checkpoint", "weights", "backbone", "size", "frames", "frame_step",
    "eval_seed", "precision", "method", "head", "key_augment", "alpha", "variant", "epochs", "seed", UNSEEN,
)  # fmt: skip
"""Every result says this of itself (describe_result, ORIGIN_SETTINGS); the rest is the task's own."""


@dataclass(frozen=True)
class Result:
    """Holds one result. mark: R1, R2, … over the page. content: its JSON. training_settings: of the run that made its
    backbone, None where that run is not at hand. epochs_done: of it, None where that is not known. init_weights: the
    hash of the weights that it started from, empty where it has none."""

    mark: str
    folder: Path
    content: dict[str, Any]
    training_settings: TrainingSettings | None = None
    epochs_done: int | None = None
    init_weights: str = ""

    @property
    def task(self) -> str:
        return str(self.content["task"])

    @property
    def figure(self) -> Path:
        """Give the path of its figure, which may not be there."""
        return self.folder / f"{self.content['result']}.png"

    @property
    def numbers(self) -> dict[str, float]:
        """Select what was measured: floats, where what describes a task is text and whole numbers."""
        return {k: v for k, v in self.content.items() if isinstance(v, float) and k not in DESCRIPTION}

    @property
    def description(self) -> dict[str, Any]:
        """Select all that says how it came about."""
        return {
            k: v
            for k, v in self.content.items()
            if k not in self.numbers and isinstance(v, str | int | float) and k != "result"
        }

    @property
    def per_class(self) -> list[tuple[str, float | None]]:
        """Give a share by class, where the task has one; None of a class without test videos."""
        found = self.content.get("per_class")
        if not isinstance(found, dict) or not all(isinstance(v, float | None) for v in found.values()):
            return []
        return list(found.items())


def read_results(folder: Path, first: int) -> list[Result]:
    """Read the results that a folder's table lists, numbered from `first`.

    Raises UserError where table or JSON cannot be read, and for a row whose JSON is not there.
    """
    names = [str(name) for name in read_table(folder)["result"]]
    return [_read(folder, name, f"R{first + i}") for i, name in enumerate(names)]


def _read(folder: Path, name: str, mark: str) -> Result:
    path = folder / f"{name}.json"
    if path.parent != folder or not path.is_file():
        raise UserError(f"{folder / TABLE} lists {name!r}, and there is no {name}.json beside it")
    try:
        content = files.read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {_reason(error)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("task"), str) or content.get("result") != name:
        raise UserError(f"{path} is damaged: it is no result named {name}")
    run = RunFolder(_run_of(content))
    trained = _training_settings(run, content)
    if trained is None:
        return Result(mark, folder, content)
    begun = starting_weights(run.root) or ""
    return Result(mark, folder, content, trained, epochs_done(read_run_steps(run.root)), begun)


def _run_of(content: dict[str, Any]) -> Path:
    """Find where the run would be that a result's checkpoint is of."""
    path = Path(str(content.get("checkpoint", "")))
    return path if path.is_dir() else path.parent


def _training_settings(run: RunFolder, content: dict[str, Any]) -> TrainingSettings | None:
    """Read the run's settings, if they are there and agree with what the result says of it, and its weights are still
    those that were evaluated."""
    if not run.settings.is_file() or not _has_weights(run, content):
        return None
    settings = read_run_settings(run.root)
    said = {name: content[name] for name in ("method", "head", "key_augment", "epochs", "seed") if name in content}
    return settings if said and all(getattr(settings, name) == value for name, value in said.items()) else None


def _has_weights(run: RunFolder, content: dict[str, Any]) -> bool:
    """Say whether a run's checkpoint holds the weights that a result is of; results of earlier versions do not say
    which these are."""
    if "weights" not in content:
        return True
    if not run.checkpoint.is_file():
        return False
    found = run.checkpoint.stat()
    try:
        return _backbone_hash(
            run.checkpoint, str(content.get("backbone")), found.st_mtime_ns, found.st_size
        ).startswith(str(content["weights"]))
    except (UserError, KeyError):  # It is damaged, or of another backbone.
        return False


@cache
def _backbone_hash(path: Path, backbone: str, changed: int, size: int) -> str:
    """Hash the backbone in a checkpoint, once for each state of the file: several results are of one run."""
    return weights_hash(read_backbone(path, backbone))


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "it is no JSON"
    return str(error.strerror if isinstance(error, OSError) else error)

"""Steps whose figures are read once the next is under way, as on a GPU: rows, stops and checkpoints are the same."""

import math
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch

from s2vc.manifests.errors import Stopped
from s2vc.training.methods import open_clips
from s2vc.training.run_folder import Position, RunFolder, TrainingStep, read_metrics
from s2vc.training.settings import TrainingSettings, merge_settings
from s2vc.training.step_figures import STEPS_BEHIND, StepFigures
from s2vc.training.trainer import train


@pytest.fixture
def one_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CPU be read as a GPU is."""
    monkeypatch.setitem(STEPS_BEHIND, "cpu", 1)


def tiny(cache: Path, **changes: Any) -> TrainingSettings:
    """Five videos, two steps an epoch, of the smaller backbone."""
    small = {"split": "all", "batch": 2, "size": 32, "clip_length": 8, "backbone": "s3d", "loader_workers": 0}
    more = {"method": "moco", "queue": 2, "epochs": 3, "precision": "float32", "checkpoint_minutes": 60.0}
    return merge_settings({"cache": str(cache), **small, **more, **changes})


def trained(settings: TrainingSettings, out: Path, **more: Any) -> Position:
    return train(settings, open_clips(settings), RunFolder(out), torch.device("cpu"), **more)


def measured(row: TrainingStep) -> tuple[float, ...]:
    """Everything of a row but its two times."""
    return astuple(row)[:-2]


def same_weights(one: Path, other: Path) -> bool:
    first, second = (torch.load(out / "checkpoint.pt", weights_only=True)["state_dict"] for out in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def at_once(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("at_once") / "run"
    trained(tiny(cache_path), out)
    return out


@pytest.mark.usefixtures("one_behind")
@pytest.mark.parametrize("minutes", [0.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_rows_and_weights_are_the_same_and_epochs_end_with_all_read(
    minutes: float, at_once: Path, cache_path: Path, tmp_path: Path
) -> None:
    rows: list[TrainingStep] = []
    ends: list[tuple[int, int]] = []
    more: dict[str, Callable[..., None]] = {
        "on_step": rows.append,
        "on_epoch": lambda model, epochs: ends.append((epochs, len(rows))),
    }
    trained(tiny(cache_path, checkpoint_minutes=minutes), tmp_path / "run", **more)
    expected = read_metrics(at_once / "metrics.csv")
    assert [measured(row) for row in rows] == [measured(row) for row in expected] and len(rows) == 6
    assert ends == [(1, 2), (2, 4), (3, 6)]
    assert all(0 <= row.data_wait <= 1 for row in rows)
    assert same_weights(tmp_path / "run", at_once)


@pytest.mark.usefixtures("one_behind")
def test_a_run_that_is_asked_to_stop_reads_all_its_steps_and_goes_on_to_the_same_bits(
    at_once: Path, cache_path: Path, tmp_path: Path
) -> None:
    out, asked = tmp_path / "run", iter([False, False, True])
    position = trained(tiny(cache_path), out, should_stop=lambda: next(asked, True))
    assert position.total < 6 and len(read_metrics(out / "metrics.csv")) == position.total
    assert trained(tiny(cache_path), out).total == 6
    expected = read_metrics(at_once / "metrics.csv")
    assert [measured(row) for row in read_metrics(out / "metrics.csv")] == [measured(row) for row in expected]
    assert same_weights(out, at_once)


@pytest.mark.usefixtures("one_behind")
@pytest.mark.parametrize("minutes", [0.0, 60.0])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_in_no_checkpoint(
    minutes: float, cache_path: Path, tmp_path: Path
) -> None:
    settings = tiny(cache_path, lr=1e37, warmup_epochs=0, checkpoint_minutes=minutes)
    with pytest.raises(Stopped, match="the loss of step 2 is nan"):
        trained(settings, tmp_path / "run")
    assert len(read_metrics(tmp_path / "run" / "metrics.csv")) == 1
    kept = tmp_path / "run" / "checkpoint.pt"
    assert kept.exists() == (minutes == 0)
    if kept.exists():
        assert torch.load(kept, weights_only=True)["position"]["total"] == 1


def test_figures_come_as_they_are() -> None:
    figures = StepFigures(torch.tensor([0.5, math.nan]), epoch=1, total=7, rate=0.1)
    first, second = figures.read()
    assert first == 0.5 and math.isnan(second)


@pytest.mark.parametrize("fused", [True, None])
def test_a_checkpoint_of_another_devices_optimizer_keeps_the_kernels_of_this_one(
    fused: bool | None, tmp_path: Path
) -> None:
    """A GPU's Adam is one kernel for all weights. A CPU has such kernels, too, so that it can stand for the GPU."""
    from torch.amp import GradScaler

    def adam(kernels: bool | None) -> tuple[torch.nn.Linear, torch.optim.Adam]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        return model, torch.optim.Adam(model.parameters(), fused=kernels)

    def step(model: torch.nn.Linear, optimizer: torch.optim.Adam) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    model, optimizer = adam(None if fused else True)
    step(model, optimizer)
    folder, scaler = RunFolder(tmp_path), GradScaler("cpu", enabled=False)
    settings = TrainingSettings(cache="somewhere")
    folder.save(model, optimizer, scaler, settings, Position(0, 1, 1), 4, "all")
    resumed, own = adam(fused)
    assert folder.load(resumed, own, scaler) == Position(0, 1, 1)
    assert own.param_groups[0]["fused"] is fused
    step(model, optimizer)
    step(resumed, own)
    torch.testing.assert_close(resumed.weight, model.weight)

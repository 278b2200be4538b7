"""Precision: what auto means where, that a run keeps it, and float16's scaler; and which processes get GPUs."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cluster.train_processes import gpu_for_each
from s2vc.training import precision
from s2vc.training.precision import choose_training_precision, refuse_precision
from s2vc.training.prepare import resolve_precision
from s2vc.training.run_folder import Position, RunFolder
from s2vc.training.settings import TrainingSettings, merge_settings, read_settings_file, settings_yaml

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def settings(**chosen: object) -> TrainingSettings:
    return merge_settings({"alpha": [0.5], **chosen})


@pytest.fixture(params=[True, False], ids=["bfloat16", "no bfloat16"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the machine is one whose devices multiply bfloat16."""
    monkeypatch.setattr(precision, "trains_in_bfloat16", lambda device: request.param)
    return bool(request.param)


def test_auto_is_bfloat16_where_it_is_multiplied_and_float16_on_other_gpus(fast: bool) -> None:
    assert choose_training_precision(GPU) == ("bfloat16" if fast else "float16")
    assert choose_training_precision(CPU) == ("bfloat16" if fast else "float32")


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [("bfloat16", GPU, "take float16"), ("bfloat16", CPU, "take float32"), ("float16", CPU, "wants a GPU")],
)
def test_a_precision_that_the_device_lacks_is_refused(
    asked: str, device: torch.device, message: str, fast: bool
) -> None:
    if asked == "bfloat16" and fast:
        refuse_precision(asked, device)
        return
    with pytest.raises(UserError, match=message):
        refuse_precision(asked, device)


def test_a_run_keeps_the_precision_that_auto_chose(tmp_path: Path, fast: bool) -> None:
    folder, chosen = RunFolder(tmp_path / "run"), "bfloat16" if fast else "float32"
    assert resolve_precision("auto", folder, CPU) == chosen
    assert resolve_precision("auto", folder, None) == "auto", "other processes choose"
    folder.open(settings(precision="bfloat16"))
    assert resolve_precision("auto", folder, None) == "bfloat16"
    if fast:
        assert resolve_precision("auto", folder, CPU) == "bfloat16"
    else:
        with pytest.raises(UserError, match="precision bfloat16 wants"):
            resolve_precision("auto", folder, CPU)
    with pytest.raises(UserError, match="precision is 'bfloat16' there, 'float32' here"):
        folder.open(settings(precision=resolve_precision("float32", folder, CPU)))


def test_a_run_of_an_earlier_version_is_given_the_precision_it_goes_on_in(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.settings.write_text(settings_yaml(settings(precision="auto")))
    folder.open(settings(precision="float32"))
    assert merge_settings(read_settings_file(folder.settings)) == settings(precision="float32")
    with pytest.raises(UserError, match="precision is 'float32' there, 'float16' here"):
        folder.open(settings(precision="float16"))


def test_a_run_keeps_its_number_of_processes(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(settings())
    folder.open(settings(workers=1))
    with pytest.raises(UserError, match="workers is 1 there, 4 here"):
        folder.open(settings(workers=4))


def test_the_scaler_of_float16_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    folder, model = RunFolder(tmp_path), nn.Linear(2, 2)
    optimizer, scaler = torch.optim.Adam(model.parameters()), GradScaler("cpu", init_scale=128.0, growth_interval=1)
    scaler.scale(model(torch.ones(1, 2)).sum()).backward()
    assert model.bias.grad is not None and model.bias.grad.tolist() == [128.0, 128.0]
    scaler.step(optimizer)
    scaler.update()
    folder.save(model, optimizer, scaler, settings(), Position(0, 1, 1), videos=4, split="all")
    again = GradScaler("cpu")
    assert folder.load(model, optimizer, again) == Position(0, 1, 1)
    assert again.get_scale() == 256.0
    assert folder.load(model, optimizer, GradScaler("cpu", enabled=False)) == Position(0, 1, 1)


@pytest.mark.parametrize(
    ("workers", "gpus", "on_cpus", "expected"),
    [(4, 0, False, False), (4, 4, False, True), (4, 8, False, True), (4, 8, True, False), (4, 2, True, False)],
)
def test_each_process_gets_a_gpu_where_there_are_any(workers: int, gpus: int, on_cpus: bool, expected: bool) -> None:
    assert gpu_for_each(workers, {"CPU": 16.0, "GPU": float(gpus)}, on_cpus) == expected


def test_more_processes_than_gpus_or_cpus_are_refused() -> None:
    with pytest.raises(UserError, match="4 workers need as many GPUs; the cluster has 2: --workers 2 takes these, and"):
        gpu_for_each(4, {"CPU": 16.0, "GPU": 2.0}, on_cpus=False)
    with pytest.raises(UserError, match="4 workers need as many CPUs; the cluster has 3"):
        gpu_for_each(4, {"CPU": 3.0}, on_cpus=True)

"""A run of DPC with blocks of another length is evaluated, fine-tuned and exported with these."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch import Tensor

from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.training.backbones import build_backbone
from s2vc.training.cli import main as train_main
from tests.eval.conftest import Evaluate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with what a run of two blocks of 10 frames says of itself."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    settings = {
        "method": "dpc", "backbone": "r2d3d18", "blocks": 2, "block_length": 10, "clip_length": 20, "frame_step": 1,
        "size": 32,
    }  # fmt: skip
    state = {f"backbone.{k}": v for k, v in build_backbone("r2d3d18").state_dict().items()}
    torch.save({"state_dict": state, "settings": yaml.safe_dump(settings)}, folder / "checkpoint.pt")
    return folder


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return torch.randn(2, 3, 20, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def expected(run: Path, clips: Tensor) -> Tensor:
    """Features of the halves of two clips, each a clip by itself, put together: (2, 256, 6, 1, 1)."""
    whole = build_backbone("r2d3d18", 7)  # 10 frames are not a number of such blocks, and are seen at once.
    state = torch.load(run / "checkpoint.pt", weights_only=True)["state_dict"]
    whole.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items()})
    with torch.no_grad():
        halves = whole(torch.cat([clips[:, :, :10], clips[:, :, 10:]]))
    return torch.cat(halves.split(2), dim=2)


def test_evaluation_sees_the_blocks_of_the_run(run: Path, clips: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        found = load_evaluated_backbone(str(run)).backbone(clips)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Torch would have people leave TorchScript.
def test_a_program_sees_the_blocks_of_the_run(run: Path, clips: Tensor, expected: Tensor, tmp_path: Path) -> None:
    arguments = ["export", str(run), "--out", str(tmp_path / "program.pt"), "--format", "torchscript"]
    result = CliRunner().invoke(train_main, arguments)
    assert result.exit_code == 0, result.output
    kept = {"backbone.json": ""}
    program = torch.jit.load(str(tmp_path / "program.pt"), _extra_files=kept)
    np.testing.assert_allclose(program(clips), expected, atol=1e-4)
    assert yaml.safe_load(kept["backbone.json"])["block_length"] == 10


def test_plain_weights_come_with_a_line(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(train_main, ["export", str(run), "--out", str(tmp_path / "weights.pt")])
    assert result.exit_code == 0, result.output
    assert "build_backbone('r2d3d18', 10)" in result.output


def test_fine_tuning_goes_on_with_the_blocks_of_the_run(
    run: Path, labelled_cache: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    result = evaluate("finetune", labelled_cache, run, "--epochs", 1, "--batch", 3, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert yaml.safe_load((folder / "settings.yaml").read_text())["block_length"] == 10
    assert load_evaluated_backbone(str(folder)).backbone.block_length == 10


def test_starting_weights_of_other_blocks_are_refused(run: Path, labelled_cache: Path, tmp_path: Path) -> None:
    how = ["--method", "supervised", "--backbone", "r2d3d18", "--init", str(run), "--size", "32", "--device", "cpu"]
    how += ["--clip-length", "20", "--frame-step", "1", "--epochs", "1", "--batch", "3", "--loader-workers", "0"]
    result = CliRunner().invoke(train_main, ["run", str(labelled_cache), *how, "--out", str(tmp_path / "run")])
    assert result.exit_code == 2, result.output
    assert "was trained on blocks of 10 frames, and here they have 5: add --block-length 10" in result.output
    chosen = ["--block-length", "10", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(train_main, ["run", str(labelled_cache), *how, *chosen])
    assert result.exit_code == 0, result.output

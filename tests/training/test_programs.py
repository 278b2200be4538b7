"""Backbones as programs: what is written computes what the backbone computes, without a line of ours."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from s2vc.training.backbones import build_backbone
from s2vc.training.cli import export
from s2vc.training.programs import PROGRAMS
from s2vc.training.settings import TrainingSettings, settings_yaml

RUN = {"backbone": "r2plus1d18", "size": 32, "clip_length": 4, "frame_step": 3, "mean": (0.4, 0.5, 0.6)}

Compute = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a run, with settings of its own."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    state = {f"encoder_q.0.{k}": v for k, v in build_backbone("r2plus1d18").state_dict().items()}
    content = {"state_dict": state, "settings": settings_yaml(TrainingSettings(**RUN))}  # type: ignore[arg-type]
    torch.save(content, folder / "checkpoint.pt")
    return folder


def open_torchscript(path: Path) -> tuple[Compute, str]:
    kept = {"backbone.json": ""}
    program = torch.jit.load(str(path), _extra_files=kept)
    return lambda clips: program(torch.from_numpy(clips)).numpy(), kept["backbone.json"]


def open_pt2(path: Path) -> tuple[Compute, str]:
    kept = {"backbone.json": ""}
    program = torch.export.load(path, extra_files=kept).module()
    return lambda clips: program(torch.from_numpy(clips)).detach().numpy(), kept["backbone.json"]


def open_onnx(path: Path) -> tuple[Compute, str]:
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    assert [value.name for value in session.get_inputs()] == ["clips"]
    return lambda clips: session.run(["features"], {"clips": clips})[0], session.get_modelmeta().custom_metadata_map[
        "backbone.json"
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Torch would have people leave TorchScript.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("kind", "opened"),
    [
        ("torchscript", open_torchscript),
        pytest.param("pt2", open_pt2, marks=pytest.mark.slow),
        ("onnx", open_onnx),
    ],
)
def test_a_program_computes_the_features_of_the_backbone(
    kind: str,
    opened: Callable[[Path], tuple[Compute, str]],
    run: Path,
    tmp_path: Path,
    train_cli: Callable[..., Result],
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="ONNX programs need the extra onnx, which is not installed")
    out = tmp_path / "program.pt2"
    result = train_cli("export", run, "--out", out, "--format", kind)
    assert result.exit_code == 0, result.output
    assert "r2plus1d18, clips (N, 3, 4, 32, 32) float32: " in result.output
    compute, notes = opened(out)
    torch.manual_seed(3)
    backbone = build_backbone("r2plus1d18").eval()
    shapes = [(1, 3, 4, 32, 32), (3, 3, 4, 32, 32)]
    if kind == "torchscript":  # It takes clips of any length, which the others refuse.
        shapes.append((1, 3, 20, 32, 32))
    for shape in shapes:
        x = np.random.default_rng(shape[0]).standard_normal(shape, dtype=np.float32)
        with torch.no_grad():
            expected = backbone(torch.from_numpy(x)).numpy()
        assert expected.std() > 0
        np.testing.assert_allclose(compute(x), expected, atol=1e-3 * expected.std(), rtol=1e-3)
    known = json.loads(notes)
    assert {key: known[key] for key in ("backbone", "frames", "frame_step", "size", "mean")} == {
        "backbone": "r2plus1d18", "frames": 4, "frame_step": 3, "size": 32, "mean": [0.4, 0.5, 0.6],
    }  # fmt: skip
    assert "less the mean [0.4, 0.5, 0.6] of the channels" in result.output


def test_the_command_offers_every_program() -> None:
    assert tuple(PROGRAMS) == export.PROGRAMS


def test_onnx_without_its_libraries_is_one_line(
    run: Path, tmp_path: Path, train_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = train_cli("export", run, "--out", tmp_path / "out.onnx", "--format", "onnx")
    assert (
        result.exit_code == 2 and "needs onnxscript, which is not installed: pip install 's2vc[onnx]'" in result.output
    )
    assert not list(tmp_path.iterdir())


def test_clips_that_are_too_short_and_shapes_of_weights_are_refused(
    run: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    torch.save(build_backbone("s3d").state_dict(), tmp_path / "s3d.pt")
    how = ["export", tmp_path / "s3d.pt", "--out", tmp_path / "out", "--clip-length", 4]
    result = train_cli(*how, "--format", "pt2")
    assert result.exit_code == 2 and "clips of s3d have 5 frames or more, not 4" in result.output
    result = train_cli(*how)
    assert result.exit_code == 2 and "--clip-length and --size are for programs" in result.output

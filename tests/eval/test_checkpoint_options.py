"""Which windows a checkpoint is tested on: by default those of its run, and what the first line says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import Result

from s2vc.training.backbones import build_backbone

Evaluate = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with what a run of ours says of its clips: 48x48, 6 frames 2 apart."""
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    settings = "method: moco\nsize: 48\nclip_length: 6\nframe_step: 2\n"
    torch.save({"state_dict": build_backbone("r3d18").state_dict(), "settings": settings}, path)
    return path


@pytest.mark.parametrize(
    ("options", "taken", "line"),
    [
        ([], (48, 6, 2), "windows of 6 frames, 2 apart, of 48x48, as the run was trained on"),
        (
            ["--size", 32, "--frame-step", 1],
            (32, 6, 1),
            "windows of 6 frames of 32x32; the run was trained on other clips (48x48, 6 frames, 2 apart)",
        ),
    ],
)
def test_a_run_is_tested_on_clips_like_those_it_was_trained_on(
    evaluate: Evaluate,
    labelled_cache: Path,
    run: Path,
    tmp_path: Path,
    options: list[object],
    taken: tuple[int, int, int],
    line: str,
) -> None:
    result = evaluate("retrieval", labelled_cache, run, *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert line in result.output.splitlines()
    (path,) = tmp_path.glob("retrieval-*.json")
    said = json.loads(path.read_text())
    assert (said["size"], said["frames"], said["frame_step"]) == taken


@pytest.mark.parametrize(
    "wrong",
    [
        "mean: 0.45",
        "mean: [0.5, 0.5]",
        "mean: [.nan, 0.5, 0.5]",
        "std: [0.2, 0.2, wide]",
        "std: [0, 0, 0]",
        "size: big",
        "clip_length: -8",
        "frame_step: 0",
    ],
)
def test_a_checkpoint_whose_settings_no_run_can_have_is_refused(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path, wrong: str
) -> None:
    settings = {"method": "moco", "size": 32, "clip_length": 4, "frame_step": 1} | yaml.safe_load(wrong)
    content = {"state_dict": build_backbone("r3d18").state_dict(), "settings": yaml.safe_dump(settings)}
    torch.save(content, tmp_path / "other.pt")
    result = evaluate("retrieval", labelled_cache, tmp_path / "other.pt", "--size", 32, "--out", tmp_path)
    assert result.exit_code == 2, result.output
    (line,) = (line for line in result.output.splitlines() if line.startswith("s2vc-eval: "))
    assert str(tmp_path / "other.pt") in line and wrong.partition(":")[0] in line


def test_settings_of_another_program_are_not_taken_for_a_runs(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    content = {"state_dict": build_backbone("r3d18").state_dict(), "settings": {"mean": 0.45, "size": 224}}
    torch.save(content, tmp_path / "other.pt")
    result = evaluate(
        "retrieval", labelled_cache, tmp_path / "other.pt", "--size", 32, "--frames", 4, "--out", tmp_path
    )
    assert result.exit_code == 0, result.output
    assert "trained" not in result.output.splitlines()[0]


def test_a_run_in_the_place_of_the_cache_is_recognised(
    evaluate: Evaluate, labelled_cache: Path, run: Path, tmp_path: Path
) -> None:
    result = evaluate("retrieval", run.parent, labelled_cache, "--out", tmp_path)
    assert result.exit_code == 2
    assert f"no cache at {run.parent} (no cache.json): it is the folder of a run, with " in result.output
    assert "CACHE comes first, then CHECKPOINT" in result.output

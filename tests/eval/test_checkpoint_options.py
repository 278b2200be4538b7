"""Which windows a checkpoint is tested on: by default those of its run, and what the first line says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
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


@pytest.mark.parametrize("settings", ["method: moco\nmean: 0.45\n", "method: moco\nstd: [0.2, 0.2, wide]\n"])
def test_a_checkpoint_that_normalises_by_no_three_numbers_is_refused(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path, settings: str
) -> None:
    torch.save({"state_dict": build_backbone("r3d18").state_dict(), "settings": settings}, tmp_path / "other.pt")
    result = evaluate("retrieval", labelled_cache, tmp_path / "other.pt", "--size", 32, "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert f"{tmp_path / 'other.pt'} has a {settings.split()[2].rstrip(':')} of" in result.output.replace("\n", " ")


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

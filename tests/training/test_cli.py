"""The command line of training: a mistake gives one line and exit code 2; export writes what others read."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage.held import held
from s2vc.training.backbones import build_backbone
from s2vc.training.cli.run import settings_layers
from s2vc.training.prepare import prepare_run
from s2vc.training.settings import merge_settings, read_settings_file

SMALL = ["--split", "all", "--batch", 2, "--size", 32, "--clip-length", 4, "--epochs", 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which key clips"),
        (["--alpha", 0.7], "s2vc-prep render"),
        (["--alpha", 0.5, "--split", "split3"], "no split 'split3'"),
        (["--alpha", 0.5, "--split", "split1"], "needs 4 videos or more"),
        (["--method", "moco", "--alpha", 0.5], "takes no motion-preserved clips"),
        (["--alpha", 0.5, "--key-scale", 0.9, 0.1], "key_scale"),
        (["--alpha", 0.5, "--queue", "many"], "queue cannot be 'many'"),
        (["--alpha", 0.5, "--device", "cuda:7"], "no device 'cuda:7' here"),
        (["--alpha", 0.5, "--device", "abacus"], "no device 'abacus' here"),
        (["--variant", "alpha0.5-zero-clip16", "--clip-length", 8], "--clip-length 8"),
        (["--alpha", 0.5, "--init", "nowhere.pt"], "nowhere.pt: No such file"),
        (["--method", "s2vc-online", "--alpha", 0.5, "--flow", "nowhere"], "there is no flow at "),
    ],
)
def test_mistakes_are_reported_in_one_line(
    arguments: list[object], message: str, cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    result = train_cli(cache_path, *SMALL, "--out", tmp_path / "run", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    last = [line for line in result.output.splitlines() if line.startswith("s2vc-train: ")]
    assert len(last) == 1


def test_bfloat16_is_refused_where_the_processor_does_not_multiply_it(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    with open("/proc/cpuinfo") as cpu:
        amx = "amx_bf16" in cpu.read()
    how = ["--method", "moco", "--precision", "bfloat16", "--device", "cpu", "--loader-workers", 0]
    result = train_cli(cache_path, *SMALL, *how, "--out", tmp_path / "run")
    assert result.exit_code == (0 if amx else 2), result.output
    assert amx or "s2vc-train: precision bfloat16 wants a GPU or a CPU with AMX" in result.output


def test_supervised_training_takes_its_classes_from_another_column(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    shutil.copytree(cache_path, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    header, *rows = index.read_text().splitlines()
    scenes = ["sea", "ice", "", "dusk", "sea", "moss"]  # the third video has no frames
    named = [re.sub("(,train|,test)", rf"\1,{scene}", row) for row, scene in zip(rows, scenes, strict=True)]
    index.write_text("\n".join([header.replace("split1,", "split1,scene,"), *named]) + "\n")
    how = [*SMALL, "--method", "supervised", "--label", "scene", "--loader-workers", 0, "--out", tmp_path / "run"]
    result = train_cli(tmp_path / "cache", *how)
    assert result.exit_code == 0, result.output
    assert "\nlabel: scene\n" in (tmp_path / "run" / "settings.yaml").read_text()
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["state_dict"]
    assert len(state["encoder_q.2.bias"]) == 4
    result = train_cli(tmp_path / "cache", *how, "--label", "place")
    assert result.exit_code == 2 and "no column 'place' of labels; it has label, class_name, scene" in result.output


def test_a_second_training_on_a_folder_is_refused_while_the_first_runs(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    words = [cache_path, "--method", "moco", *SMALL, "--epochs", 500, "--loader-workers", 0, "--device", "cpu"]
    words += ["--out", tmp_path / "run"]
    command = [sys.executable, "-m", "s2vc.training.cli", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as first:
        try:
            until = time.monotonic() + 120
            while not (tmp_path / "run" / "metrics.csv").exists():
                assert first.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            result = train_cli(*words)
            assert result.exit_code == 2, result.output
            assert f"{tmp_path / 'run'} is in use by another job (process {first.pid} on" in result.output
        finally:
            first.send_signal(signal.SIGTERM)
    assert first.returncode == 130
    with held(tmp_path / "run"):
        pass  # The lock ended with the process.


def test_videos_that_are_shorter_than_a_clip_are_counted(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    """12 frames 2 apart span 23."""
    clip = ["--clip-length", 12, "--frame-step", 2, "--loader-workers", 0, "--device", "cpu"]
    result = train_cli(cache_path, *SMALL, "--method", "moco", *clip, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    frames = Cache(cache_path).index.query("frames > 0")["frames"]
    short = int((frames < 23).sum())
    assert 0 < short < len(frames)
    line = f"{short} of {len(frames)} videos are shorter than a clip (12 frames, 2 apart): they are padded"
    assert line in result.output


def test_no_cache_is_reported(tmp_path: Path, train_cli: Callable[..., Result]) -> None:
    result = train_cli(tmp_path / "nothing", "--alpha", 0.5)
    assert result.exit_code == 2 and "there is no cache" in result.output


def test_a_folder_of_something_else_is_left_alone(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    result = train_cli(cache_path, *SMALL, "--alpha", 0.5, "--out", tmp_path)
    assert result.exit_code == 2 and "holds something else" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_checkpoint_of_another_backbone_is_refused_before_training(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    torch.save(build_backbone("s3d").state_dict(), tmp_path / "s3d.pt")
    result = train_cli(cache_path, *SMALL, "--alpha", 0.5, "--init", tmp_path / "s3d.pt", "--out", tmp_path / "run")
    assert result.exit_code == 2 and "holds weights of s3d, not of r3d18" in result.output
    assert not (tmp_path / "run").exists()


def test_other_weights_under_the_same_path_are_another_run(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    weights = tmp_path / "start.pt"
    how = ["--method", "moco", "--init", weights, "--loader-workers", 0, "--device", "cpu", "--out", tmp_path / "run"]
    torch.save({"state_dict": build_backbone("r3d18").state_dict()}, weights)
    assert train_cli(cache_path, *SMALL, *how).exit_code == 0
    written = (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns
    assert train_cli(cache_path, *SMALL, *how).exit_code == 0
    assert (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns == written, "the run was done"
    torch.save({"state_dict": build_backbone("r3d18").state_dict()}, weights)
    result = train_cli(cache_path, *SMALL, *how)
    assert result.exit_code == 2 and "began from other weights" in result.output


def test_a_normalisation_has_a_name_and_goes_with_the_weights(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    """The numbers are those of 3D-ResNets-PyTorch, and of pixels from -1 to 1."""
    kinetics = merge_settings(*settings_layers(None, None, {"method": "moco", "normalise": "kinetics"}))
    assert (kinetics.mean, kinetics.std) == ((0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737))
    mixed = settings_layers(None, None, {"method": "moco", "normalise": "kinetics", "std": (1, 1, 1)})
    assert merge_settings(*mixed).mean == kinetics.mean and merge_settings(*mixed).std == (1, 1, 1)
    made = [*SMALL, "--backbone", "s3d", "--clip-length", 8, "--method", "moco"]
    made += ["--loader-workers", 0, "--device", "cpu"]
    result = train_cli(cache_path, *made, "--normalise", "half", "--out", tmp_path / "first")
    assert result.exit_code == 0, result.output
    saved = merge_settings(read_settings_file(tmp_path / "first" / "settings.yaml"))
    assert saved.mean == saved.std == (0.5, 0.5, 0.5)
    onward = [*made, "--init", tmp_path / "first", "--out", tmp_path / "second"]
    result = train_cli(cache_path, *onward)
    assert (
        result.exit_code == 2
        and "normalised by half, and here it is by imagenet: add --normalise half" in result.output
    )
    assert not (tmp_path / "second").exists()
    layers = [{"cache": str(cache_path), "split": "all", "batch": 2, "size": 32, "clip_length": 8, "backbone": "s3d"}]
    layers += [{"method": "moco", "init": str(tmp_path / "first"), "epochs": 1}]

    def notes(name: str) -> str:
        flags = settings_layers(None, None, {"normalise": name})
        return " ".join(prepare_run([*layers, *flags], tmp_path / name, torch.device("cpu")).notes)

    assert "normalised" not in notes("half") and "normalised by half, and here it is by imagenet" in notes("imagenet")


def test_constant_frames_are_refused(
    cache_path: Path, tmp_path: Path, cli: Callable[..., Result], train_cli: Callable[..., Result]
) -> None:
    import numpy as np

    from tests.support.clips import write_clip

    for number in range(4):
        write_clip(tmp_path / "videos" / f"{number}.mp4", np.full((8, 96, 128, 3), 90, np.uint8))
    assert cli("manifest", "folder", tmp_path / "videos", "--out", tmp_path / "m.csv").exit_code == 0
    made = cli("encode", tmp_path / "m.csv", "--root", tmp_path / "videos", "--out", tmp_path / "cache")
    assert made.exit_code == 0, made.output
    result = train_cli(tmp_path / "cache", *SMALL, "--method", "moco", "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert "constant" in result.output


@pytest.mark.parametrize("kind", ["plain", "published"])
def test_export_writes_what_build_backbone_and_the_published_code_read(
    kind: str, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    state = build_backbone("s3d").state_dict()
    torch.save({"state_dict": {f"module.encoder_q.0.{k}": v for k, v in state.items()}}, tmp_path / "checkpoint.pt")
    result = train_cli("export", tmp_path, "--out", tmp_path / "out.pt", "--format", kind)
    assert result.exit_code == 0, result.output
    written = torch.load(tmp_path / "out.pt", weights_only=True)
    if kind == "published":
        written = {k.removeprefix("encoder_q.0."): v for k, v in written["state_dict"].items()}
    build_backbone("s3d").load_state_dict(written)
    assert all(torch.equal(written[k], v) for k, v in state.items())
    again = train_cli("export", tmp_path, "--out", tmp_path / "out.pt")
    assert again.exit_code == 2 and "there already" in again.output


def test_export_of_what_holds_no_backbone_is_refused(tmp_path: Path, train_cli: Callable[..., Result]) -> None:
    torch.save({"net": {}}, tmp_path / "flow.pt")
    result = train_cli("export", tmp_path / "flow.pt", "--out", tmp_path / "out.pt")
    assert result.exit_code == 2 and "holds none of r3d18, s3d" in result.output
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("wrong", ["mean: 0.45", "std: [0, 0, 0]", "clip_length: long"])
def test_settings_of_a_checkpoint_that_no_run_can_have_are_named(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result], wrong: str
) -> None:
    """Whoever reads them: training that starts from it, and its export."""
    content = {"state_dict": build_backbone("r3d18").state_dict(), "settings": f"method: moco\n{wrong}\n"}
    torch.save(content, tmp_path / "other.pt")
    how = ["--method", "moco", "--init", tmp_path / "other.pt", "--device", "cpu", "--out", tmp_path / "run"]
    trained = train_cli(cache_path, *SMALL, *how)
    exported = train_cli("export", tmp_path / "other.pt", "--out", tmp_path / "program.pt2", "--format", "pt2")
    for result in (trained, exported):
        assert result.exit_code == 2, result.output
        assert f"{tmp_path / 'other.pt'} has a {wrong.partition(':')[0]} of" in result.output

"""The real commands fit-flow and flow-info: a fit that is stopped and gone on with, and what is refused."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.flow import fingerprint, load_flow
from s2vc.pipeline.flow.checkpoints import flow_record

LIMIT = 120.0
STEPS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 smooth images, 64x64."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for n in range(300):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{n:03}.png")
    return folder


def arguments(images: Path, out: Path, *more: object) -> list[str]:
    tiny = ["--hidden", 4, "--width", 4, "--high-blocks", 1, "--low-blocks", 1, "--deep-blocks", 1]
    return [str(a) for a in ("fit-flow", images, "--out", out, *tiny, "--steps", STEPS, "--batch", 8, *more)]


def prep(*words: object) -> Result:
    from s2vc.pipeline.cli import main

    return CliRunner().invoke(main, [str(w) for w in words])


def steps_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))[1:] if path.exists() else []


def stopped_at(steps: int, log: Path, words: list[str]) -> tuple[int, str]:
    """The real command, asked to end by SIGTERM once so many steps are done: its exit code and output."""
    command = [sys.executable, "-m", "s2vc.pipeline.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + LIMIT
    while len(steps_of(log)) < steps:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=LIMIT)
    return process.returncode, output


def test_a_fit_that_is_stopped_goes_on_to_the_same_flow(folder: Path, tmp_path: Path) -> None:
    whole = prep(*arguments(folder, tmp_path / "whole.safetensors"))
    assert whole.exit_code == 0, whole.output
    assert "on 30 held-out images" in whole.output and "bits per dimension" in whole.output

    code, output = stopped_at(3, tmp_path / "part.csv", arguments(folder, tmp_path / "part.safetensors"))
    stopped = len(steps_of(tmp_path / "part.csv"))
    assert (code, stopped < STEPS) == (130, True), output
    assert "run the same command again" in output and not (tmp_path / "part.safetensors").exists()

    again = prep(*arguments(folder, tmp_path / "part.safetensors"))
    assert again.exit_code == 0 and f"{stopped} done before" in " ".join(again.output.split()), again.output
    assert steps_of(tmp_path / "part.csv") == steps_of(tmp_path / "whole.csv")
    one, other = (load_flow(tmp_path / f"{n}.safetensors").state_dict() for n in ("whole", "part"))
    assert all((one[k] == other[k]).all() for k in one)
    assert not list(tmp_path.glob("*.fit.pt"))
    assert Image.open(tmp_path / "whole.png").size[0] == 512
    assert Image.open(tmp_path / "whole-curve.png").size[0] > 300


def test_a_fit_that_goes_on_must_be_the_same_fit(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.safetensors"
    stopped_at(1, tmp_path / "f.csv", arguments(folder, out, "--steps", 4000))
    for more, told in ((["--noise", 0.5], "noise is 0.02 there, 0.5 here"), (["--seed", 1], "seed is 0 there, 1 here")):
        done = prep(*arguments(folder, out, "--steps", 4000, *more))
        assert done.exit_code == 2 and told in done.output, done.output
    (folder / "one more.png").write_bytes((folder / "000.png").read_bytes())
    done = prep(*arguments(folder, out, "--steps", 4000))
    (folder / "one more.png").unlink()
    assert done.exit_code == 2 and "source is " in done.output, done.output


def test_minutes_become_steps_which_are_kept(folder: Path, tmp_path: Path) -> None:
    done = prep(*arguments(folder, tmp_path / "f.safetensors", "--minutes", 0.02))
    assert done.exit_code == 0, done.output
    steps = len(steps_of(tmp_path / "f.csv"))
    assert steps >= 1 and flow_record(tmp_path / "f.safetensors")["steps"] == steps


def test_what_is_written_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.safetensors"
    assert prep(*arguments(folder, out, "--noise", 0.05)).exit_code == 0
    record = flow_record(out)
    assert record["noise"] == 0.05 and record["images"] == 30 and record["error_rms"] < 1e-4
    told = prep("flow-info", out)
    assert told.exit_code == 0 and "hidden: 4" in told.output and "encode: " in told.output
    assert f"bits_clean: {record['bits_clean']}" in told.output.replace("\n", "")
    assert prep("flow-info", "default").exit_code == 0
    onward = prep(*arguments(folder, tmp_path / "g.safetensors", "--init", out, "--lr", 0))
    assert onward.exit_code == 0, onward.output
    one, other = load_flow(out).state_dict(), load_flow(tmp_path / "g.safetensors").state_dict()
    assert all(np.allclose(one[k], other[k], atol=1e-6) for k in one)  # at a rate of 0 it stays what it was


def test_what_is_written_encodes_and_renders(
    folder: Path, videos: Path, cli: Callable[..., Result], tmp_path: Path
) -> None:
    flow, cache = tmp_path / "f.safetensors", tmp_path / "cache"
    assert prep(*arguments(folder, flow)).exit_code == 0
    manifest = tmp_path / "m.csv"
    manifest.write_text("video_id,label,class_name,split1\nslide/a.mp4,0,slide,train\n")
    words = ("encode", manifest, "--root", videos, "--out", cache, "--size", "72x98", "--flow", flow)
    assert cli(*words).exit_code == 0
    assert cli("render", cache, "--keep", 0.2).exit_code == 0
    loaded, opened = load_flow(flow), Cache(cache)
    assert opened.settings.flow_fingerprint == fingerprint(loaded)
    x = torch.from_numpy(opened.small("slide/a.mp4", 0, 4)).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(opened.latents("slide/a.mp4", 0, 4), loaded.encode(x)[0], atol=5e-3)
    assert len(opened.motion_preserved("slide/a.mp4", "keep0.2-zero-video")) == 40


def test_what_makes_no_fit_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for n in range(5):
        Image.new("RGB", (64, 64)).save(few / f"{n}.png")
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"")
    other = tmp_path / "other.safetensors"
    assert prep(*arguments(folder, other, "--steps", 1, "--validation", few)).exit_code == 0
    other.rename(tmp_path / "moved.safetensors")
    (tmp_path / "other.fit.pt").write_bytes(b"no checkpoint")
    for words, told in (
        (arguments(few, tmp_path / "a.safetensors"), "has 5 images that can be read; a flow wants 256"),
        (arguments(folder, there), "exists: choose another --out"),
        (arguments(folder, tmp_path / "a.pt"), "names the flow, a .safetensors file"),
        (arguments(folder, other), "is damaged, or no checkpoint of a fit"),
        (arguments(tmp_path / "nothing", tmp_path / "a.safetensors"), "there is no folder, tar file or cache"),
        (arguments(folder, tmp_path / "a.safetensors", "--init", few), "there is no flow at"),
    ):
        done = prep(*words)
        assert done.exit_code == 2 and told in done.output and done.output.count("s2vc-prep: ") == 1, done.output

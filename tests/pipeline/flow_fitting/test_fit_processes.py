"""A fit in two processes under Ray Train: the losses of one process. Kills are tested with the trainer: its
processes are run by the same function."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2vc.pipeline.flow import load_flow
from s2vc.pipeline.flow_fitting.fitting import FitRecord
from s2vc.pipeline.storage.step_log import StepReader

LIMIT = 180.0
STEPS = 200


def command(images: Path, out: Path, workers: int) -> list[str]:
    arguments = [
        "fit-flow", images, "--out", out, "--hidden", 2, "--width", 2, "--high-blocks", 1, "--low-blocks", 1,
        "--deep-blocks", 1, "--steps", STEPS, "--batch", 6, "--workers", workers,
    ]  # fmt: skip
    return [sys.executable, "-m", "s2vc.pipeline.cli", *map(str, arguments)]


def records(out: Path) -> list[FitRecord]:
    return StepReader(out.with_suffix(".csv"), FitRecord).new()


def wait(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_that_are_stopped_and_go_on_have_the_losses_of_one(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for n in range(300):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(images / f"{n:03}.png")
    alone, both = tmp_path / "alone.safetensors", tmp_path / "both.safetensors"

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(command(images, both, 2), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    process = start()
    wait(process, lambda: len(records(both)) > 3)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130 and "run the same command again" in output, output
    assert 3 < len(records(both)) < STEPS

    again = start()
    output, _ = again.communicate(timeout=LIMIT)
    assert again.returncode == 0, output
    one = subprocess.run(command(images, alone, 0), capture_output=True, text=True, timeout=LIMIT)
    assert one.returncode == 0, one.stderr
    assert [r.step for r in records(both)] == list(range(1, STEPS + 1))
    for a, b in zip(records(alone), records(both), strict=True):
        assert b.bits == pytest.approx(a.bits, rel=2e-3)
    first = slice(0, 20)  # later, rounding has grown
    np.testing.assert_allclose([r.bits for r in records(both)][first], [r.bits for r in records(alone)][first], 1e-5)
    assert load_flow(both).architecture == load_flow(alone).architecture
    assert {p.name for p in tmp_path.iterdir() if p.name.startswith("both")} == {
        f"both{ending}" for ending in (".safetensors", ".csv", ".png", "-curve.png")
    }

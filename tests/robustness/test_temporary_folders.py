"""Temporary folders as batch systems make them, whose paths are too long for the sockets of Ray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cluster.connection import folder_for_sockets
from tests.support.clips import moving_square, write_clip


def encode(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    write_clip(folder / "a.mp4", moving_square(6))
    (folder / "m.csv").write_text("video_id\na.mp4\n")
    line = [sys.executable, "-m", "s2vc.pipeline.cli", "encode", str(folder / "m.csv"), "--out", str(folder / "cache")]
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"}
    return subprocess.run(
        [*line, "--size", "32x32"], env=inherited | environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize("length", [56, 120])
def test_a_job_runs_whatever_the_length_of_tmpdir(length: int, tmp_path: Path) -> None:
    long = str(tmp_path / "scratch").ljust(length, "x")
    Path(long).mkdir()
    done = encode(tmp_path, TMPDIR=long)
    assert done.returncode == 0, done.stderr
    assert "1 ok" in done.stdout + done.stderr


def test_a_ray_tmpdir_that_is_too_long_is_refused_in_one_line(tmp_path: Path) -> None:
    long = tmp_path / ("y" * 60)
    long.mkdir()
    done = encode(tmp_path, RAY_TMPDIR=str(long))
    assert done.returncode == 2
    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert "too long for the sockets of Ray: set RAY_TMPDIR to a folder" in line


def test_where_nothing_short_can_be_written_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/" + "z" * 60)
    assert folder_for_sockets("/tmp") == f"/tmp/s2vc-ray-{os.getuid()}"
    with pytest.raises(UserError, match="set RAY_TMPDIR to a folder on this machine's own disk"):
        folder_for_sockets(str(tmp_path / "missing"))
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert folder_for_sockets() is None


@pytest.mark.slow
@pytest.mark.parametrize("tmpdir", ["/proc", "relative", "/etc/hostname"])
def test_a_tmpdir_that_is_no_folder_to_write_in_stops_no_job(tmpdir: str, tmp_path: Path) -> None:
    done = encode(tmp_path, TMPDIR=tmpdir)
    assert done.returncode == 0, done.stderr

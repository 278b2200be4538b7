"""Which ffmpeg is taken: the one on the PATH where it works, else the bundled one, with a line that says why."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from s2vc.pipeline.stages.ffmpeg_process import choose_ffmpeg, ffmpeg_binary
from s2vc.pipeline.stages.video import decode_video, write_video

BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()

LOADER = "error while loading shared libraries: libavdevice.so.59: cannot open shared object file"

BROKEN = {
    "missing library": (f"echo 'ffmpeg: {LOADER}' >&2; exit 127", f"does not start (ffmpeg: {LOADER})"),
    "empty message": ("echo >&2; exit 127", "does not start ("),
    "odd bytes": ("printf 'ffmpeg version 7.1 \\377\\n'", "has no decoder h264"),
    "crash": ("kill -SEGV $$", "does not start ("),
    "old": ("echo 'ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright'", "is older than 5.1"),
    "no decoder": (f"exec {BUNDLED} \"$@\" | grep -v ' h264 '", "has no decoder h264"),
}


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of a program called ffmpeg, the first on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    choose_ffmpeg.cache_clear()
    yield tmp_path / "bin" / "ffmpeg"
    choose_ffmpeg.cache_clear()


def install(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("kind", BROKEN)
def test_an_ffmpeg_that_cannot_be_used_is_not(kind: str, on_path: Path) -> None:
    script, why = BROKEN[kind]
    install(on_path, script)
    binary, said = choose_ffmpeg()
    assert binary == BUNDLED
    assert said.startswith(f"{on_path} {why}")
    assert said.endswith("; the ffmpeg of imageio-ffmpeg is used")


def test_one_of_another_architecture_is_not_used(on_path: Path) -> None:
    on_path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(64))  # RISC-V
    on_path.chmod(0o755)
    binary, said = choose_ffmpeg()
    assert binary == BUNDLED
    assert said.startswith(f"{on_path} does not start (")


def test_one_that_works_is_used(on_path: Path) -> None:
    install(on_path, f'exec {BUNDLED} "$@"')
    assert choose_ffmpeg() == (str(on_path), "")


def test_one_without_an_encoder_decodes_and_the_bundled_one_encodes(on_path: Path, tmp_path: Path) -> None:
    install(on_path, f"exec {BUNDLED} \"$@\" | grep -a -v ' libx264 '")
    assert ffmpeg_binary() == str(on_path)
    assert choose_ffmpeg(encoder=True) == (
        BUNDLED,
        f"{on_path} has no encoder libx264; the ffmpeg of imageio-ffmpeg is used",
    )
    with write_video(tmp_path / "a.mp4", 32, 32, "25") as write:
        write(np.zeros((3, 32, 32, 3), np.uint8))
    install(on_path, f'exec {BUNDLED} "$@"')
    assert decode_video(tmp_path / "a.mp4", 32, 32, lambda frames: None).frames == 3


def test_encode_says_which_ffmpeg_it_cannot_use(on_path: Path, videos: Path, tmp_path: Path) -> None:
    install(on_path, BROKEN["missing library"][0])
    (tmp_path / "m.csv").write_text("video_id\nslide/a.mp4\n")
    line = [sys.executable, "-m", "s2vc.pipeline.cli", "encode", str(tmp_path / "m.csv"), "--root", str(videos)]
    done = subprocess.run([*line, "--out", str(tmp_path / "cache")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{on_path} does not start (ffmpeg: {LOADER}); the ffmpeg of imageio-ffmpeg is used" in (
        done.stdout + done.stderr
    )


HOLDING = """
import sys
from s2vc.pipeline.stages.ffmpeg_process import ffmpeg_process
with ffmpeg_process(["/bin/sleep", "600"]) as process:
    print(process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("launcher", ["setpriv", "fork"])
def test_a_decoder_dies_with_the_process_that_reads_from_it(launcher: str, tmp_path: Path) -> None:
    """It never writes, so that nothing but the kernel can tell it."""
    if launcher == "setpriv" and not shutil.which("setpriv"):
        pytest.skip("this machine has no setpriv")
    environment = os.environ if launcher == "setpriv" else {**os.environ, "PATH": str(tmp_path)}
    held = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDING], stdin=held, stdout=held, env=environment) as reader:
        assert reader.stdout is not None
        decoder = int(reader.stdout.readline())
        assert within_limit(lambda: Path(f"/proc/{decoder}/cmdline").read_bytes().startswith(b"/bin/sleep"))
        reader.kill()
    assert within_limit(lambda: not runs(decoder))


def within_limit(happened: Callable[[], bool], limit: float = 20) -> bool:
    """Wait for something, `limit` seconds at most, and say whether it happened."""
    deadline = time.monotonic() + limit
    while not (there := happened()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return there


def runs(pid: int) -> bool:
    """Say whether a process is there, and is no zombie that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""Run ffmpeg: find it, and start it so that it ends with us."""

import ctypes
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache


@lru_cache(maxsize=1)
def ffmpeg_binary() -> str:
    """Return the ffmpeg on the PATH if it is 5.1 or later (-fps_mode is needed), else imageio-ffmpeg's."""
    found = shutil.which("ffmpeg")
    if found is not None:
        version = re.search(r"version n?(\d+)\.(\d+)", ffmpeg_version(found))
        if version is None or (int(version[1]), int(version[2])) >= (5, 1):
            return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_version(binary: str) -> str:
    """Return the first three words of ffmpeg's banner, e.g. "ffmpeg version 7.1"."""
    banner = subprocess.run([binary, "-version"], capture_output=True, text=True, check=True).stdout
    return " ".join(banner.split()[:3])


@contextmanager
def ffmpeg_process(command: list[str], stdin: int | None = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a child process that is dead when the block ends, however it ends."""
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


# prctl is looked up here, since little is allowed between fork and exec.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have this process killed when the one that started it is gone (on Linux)."""
    # A hung decoder never writes, so it would not notice that the process that reads from it was killed.
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)

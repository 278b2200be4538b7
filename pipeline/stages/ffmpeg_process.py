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

from s2vc.manifests.errors import printable

OLDEST = (5, 1)
"""Older versions lack -fps_mode."""

NEEDED = {"-decoders": ("h264", "hevc", "mpeg4", "vp9"), "-encoders": ("libx264",)}
"""Builds that lack these are around: some distributions leave them out."""


def ffmpeg_binary(encoder: bool = False) -> str:
    """Return the ffmpeg that decodes or, if asked for, the one that encodes; see `choose_ffmpeg`."""
    return choose_ffmpeg(encoder)[0]


@lru_cache(maxsize=2)
def choose_ffmpeg(encoder: bool = False) -> tuple[str, str]:
    """Return the ffmpeg on the PATH if it starts, is 5.1 or later and can do what is needed, else imageio-ffmpeg's.

    The second value is a line on why the one on the PATH is not taken; empty if it is, and if there is none.
    """
    found = shutil.which("ffmpeg")
    fault = _fault(found, "-encoders" if encoder else "-decoders") if found else ""
    if found and not fault:
        return found, ""
    import imageio_ffmpeg

    said = f"{found} {fault}; the ffmpeg of imageio-ffmpeg is used" if fault else ""
    return str(imageio_ffmpeg.get_ffmpeg_exe()), said


def _fault(binary: str, codecs: str) -> str:
    """Return why an ffmpeg cannot be used, as the end of a sentence; empty if it can."""
    try:
        version = re.search(r"version n?(\d+)\.(\d+)", ffmpeg_version(binary))
        listed = _output(binary, codecs)
    except subprocess.TimeoutExpired:
        return "does not answer"
    except (OSError, subprocess.CalledProcessError) as error:
        lines = ((getattr(error, "stderr", "") or "").strip() or str(error)).splitlines()
        return f"does not start ({printable(lines[0])})"
    if version is not None and (int(version[1]), int(version[2])) < OLDEST:
        return f"is older than {'.'.join(map(str, OLDEST))}"
    known = {word for line in listed.splitlines() for word in line.split()[1:2]}
    lacking = [name for name in NEEDED[codecs] if name not in known]
    return f"has no {codecs[1:-1]} {lacking[0]}" if lacking else ""


def ffmpeg_version(binary: str) -> str:
    """Return the first three words of ffmpeg's banner, e.g. "ffmpeg version 7.1"."""
    return " ".join(_output(binary, "-version").split()[:3])


def _output(binary: str, option: str) -> str:
    # A loader whose library is missing ends with 127 and a message.
    command = [binary, "-hide_banner", option]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True, timeout=20, stdin=subprocess.DEVNULL
    ).stdout


@contextmanager
def ffmpeg_process(command: list[str], stdin: int | None = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a child process that is dead when the block ends, however it ends, and when this process is killed."""
    launcher = _setpriv()
    process = subprocess.Popen(
        [launcher, *_DIE_WITH_PARENT, *command] if launcher else command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        preexec_fn=None if launcher else die_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


_DIE_WITH_PARENT = ("--pdeathsig", "KILL", "--")


@lru_cache(maxsize=1)
def _setpriv() -> str | None:
    """Return the setpriv of util-linux, which starts a program that is killed when the one that started it is gone.

    With it Python starts programs by vfork. A function of ours between fork and exec would take a copy of the page
    tables of a worker, whose size is some hundred megabytes, for every video. None where there is none that can.
    """
    found = shutil.which("setpriv")
    if found is None:
        return None
    try:
        tried = subprocess.run([found, *_DIE_WITH_PARENT, found, "--version"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found if tried.returncode == 0 else None


# prctl is looked up here, since little is allowed between fork and exec.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have this process killed when the one that started it is gone (on Linux)."""
    # A hung decoder never writes, so it would not notice that the process that reads from it was killed.
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)

"""Run ffmpeg: find it, start it so that it ends with us, and read what it says."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import IO


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


class FfmpegLog:
    """This collects ffmpeg's messages; a thread drains them, or the child would block on a full pipe."""

    KEPT = 20

    def __init__(self, pipe: IO[bytes]):
        self.errors: list[str] = []
        self._streams: list[str] = []
        self._thread = threading.Thread(target=self._drain, args=(pipe,), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._thread.join()

    def stream(self) -> tuple[int, int, str]:
        """Return width, height and frames per second of the first video stream, as far as the header gives them."""
        for line in self._streams:
            if "attached pic" not in line:
                size = re.search(r", (\d{1,6})x(\d{1,6})", line)
                fps = re.search(r", ([\d.]+k?) fps", line) or re.search(r", ([\d.]+k?) tbr", line)
                return (
                    int(size[1]) if size else 0,
                    int(size[2]) if size else 0,
                    frame_rate(fps[1]) if fps else "",
                )
        return 0, 0, ""

    def _drain(self, pipe: IO[bytes]) -> None:
        tail = b""
        while chunk := os.read(pipe.fileno(), 1 << 16):
            *lines, tail = (tail + chunk).split(b"\n")
            tail = tail[-4096:]
            for line in lines:
                self._take(line.decode("utf-8", "replace"))
        self._take(tail.decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        if re.search(r"\[(error|fatal|panic)\] ", line):
            # Addresses differ from run to run, and the path from machine to machine; receipts must not.
            if len(self.errors) < self.KEPT and "Error opening input file " not in line:
                said = re.sub(r"\[[^\]]* @ 0x[0-9a-f]+\] |\[(error|fatal|panic)\] ", "", line).strip()
                self.errors.append("".join(c if c.isprintable() else "?" for c in said))
        elif len(self._streams) < self.KEPT and re.search(r"Stream #0:\d+.*: Video:", line):
            self._streams.append(line)


def frame_rate(text: str) -> str:
    """Return the rate that ffmpeg's rounded one stands for: "29.97" -> "30000/1001", "25" -> "25"."""
    rate = Fraction(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return str(ntsc) if rate.denominator > 1 and abs(ntsc - rate) < Fraction(1, 100) else str(rate)

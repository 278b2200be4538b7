"""ffmpeg decodes videos, of which nothing is trusted but the frames that come out, and writes MP4."""

import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import IO

import ffmpeg
import numpy as np

from s2vc.pipeline.storage.prefetch import prefetch

DECODE_FRAMES = 32
"""Frames are passed on this many at a time."""

PLANES = "gbrp"
"""This is ffmpeg's name of what comes through the pipe: complete planes of green, blue and red, in this order."""

SILENCE_SECONDS = 120.0
"""A decoder that gives no byte for this long is taken to be hung."""

MAX_PIXELS = 1 << 28
"""The decoder refuses frames of more pixels than this, 16,384 x 16,384."""

# These containers hold their own frames. Playlists and scripts (hls, dash, concat, …) are not among them: under the
# name of an .mp4 they would make ffmpeg read other files.
FORMATS = (
    "mov,matroska,avi,asf,flv,mpeg,mpegts,mpegvideo,gif,ogg,h264,hevc,m4v,ivf,rm,dv,mxf,nut,"
    "yuv4mpegpipe,apng,3gp,webm,vob,wtv,av1,obu"
)


class DecodeError(OSError):
    """The decoder ended in a way that says nothing about the video, such as being killed."""


class DecodeStalled(DecodeError):
    """No byte came for as long as silence is allowed."""


@dataclass
class Decoded:
    """This is what came of one decoding.

    frames: how many were passed on. errors: what ffmpeg called an error, shortened. width, height: of the stream, in
    pixels, before any rotation; 0 where unknown. fps: frames per second by the header, "25" or "30000/1001"; "" where
    unknown.
    """

    frames: int = 0
    errors: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    fps: str = ""


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


def decode_command(path: Path, height: int, width: int, frame_step: int = 1) -> list[str]:
    """Return the ffmpeg command that writes every `frame_step`-th frame of the first video stream as raw planes."""
    # With two threads a damaged file decodes differently. Passthrough gives every frame once, whatever its time stamp.
    source = ffmpeg.input(
        f"file:{path.absolute()}",
        threads=1,
        protocol_whitelist="file",
        format_whitelist=FORMATS,
        max_pixels=MAX_PIXELS,
    )
    thin = rf"select=not(mod(n\,{frame_step}))," if frame_step > 1 else ""
    output = ffmpeg.output(
        source["V:0"],
        "pipe:1",
        vf=f"{thin}scale={width}:{height}",
        format="rawvideo",
        # These are the values of rgb24, from a path of the scaler that takes two thirds of the time.
        pix_fmt=PLANES,
        fps_mode="passthrough",
        threads=1,
    ).global_args("-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info")
    return [str(a) for a in ffmpeg.compile(output, cmd=ffmpeg_binary())]


def decode_video(
    path: Path,
    height: int,
    width: int,
    take: Callable[[np.ndarray], None],
    frame_step: int = 1,
    silence: float = SILENCE_SECONDS,
) -> Decoded:
    """Decode a video, rotation applied, and pass its frames on: take((n, height, width, 3) uint8 RGB), n <= 32.

    Returns what came of it, even of a broken file. Raises DecodeStalled if no byte came for `silence` seconds, and
    DecodeError if ffmpeg was killed. No process is left behind.
    """
    result = Decoded()
    with _running(decode_command(path, height, width, frame_step)) as process:
        assert process.stdout is not None and process.stderr is not None
        log = _Log(process.stderr)
        # A thread reads the frames: a pipe holds a frame or two, and ffmpeg would stand still while the last ones are
        # stored.
        for frames in prefetch(_read_frames(process.stdout, height, width, silence)):
            take(frames)
            result.frames += len(frames)
        try:
            code = process.wait(silence)
        except subprocess.TimeoutExpired:
            raise DecodeStalled from None
        log.finish()
    if code < 0:
        raise DecodeError(f"ffmpeg was ended by signal {signal.Signals(-code).name}")
    result.errors = log.errors
    result.width, result.height, result.fps = log.stream()
    return result


@contextmanager
def _running(command: list[str], stdin: int | None = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
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


def _read_frames(pipe: IO[bytes], height: int, width: int, silence: float) -> Iterator[np.ndarray]:
    """Yield complete frames from a pipe, up to DECODE_FRAMES at a time; an incomplete one at the end is dropped."""
    frame_bytes = height * width * 3
    buffer = bytearray(DECODE_FRAMES * frame_bytes)
    while True:
        filled = _fill(pipe, memoryview(buffer), silence)
        whole = filled // frame_bytes
        if whole:
            planes = np.frombuffer(buffer, np.uint8)[: whole * frame_bytes].reshape(whole, 3, height, width)
            yield _interleaved(planes)
        if filled < len(buffer):
            return


def _interleaved(planes: np.ndarray) -> np.ndarray:
    """Turn planes (n, 3, H, W) in the order of PLANES into frames (n, H, W, 3) RGB."""
    count, channels, height, width = planes.shape
    frames = np.empty((count, height, width, channels), np.uint8)
    for plane, channel in enumerate(PLANES[:channels]):
        frames[..., "rgb".index(channel)] = planes[:, plane]
    return frames


def _fill(pipe: IO[bytes], buffer: memoryview, silence: float) -> int:
    """Read until the buffer is full or the pipe ends; return the number of bytes read.

    Raises DecodeStalled if no byte comes for `silence` seconds.
    """
    filled = 0
    while filled < len(buffer):
        ready, _, _ = select.select([pipe], [], [], silence)
        if not ready:
            raise DecodeStalled
        count = os.readv(pipe.fileno(), [buffer[filled:]])
        if count == 0:
            break
        filled += count
    return filled


class _Log:
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


@contextmanager
def write_video(path: Path, height: int, width: int, fps: str, crf: int = 18) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an H.264 MP4 that any player shows; the block calls write((n, height, width, 3) uint8 RGB).

    fps: frames per second as in `Decoded`; "" means 25. crf: libx264's constant rate factor, 0 (lossless) to 51. Height
    and width must be even, as yuv420p wants. The same frames give the same bytes. Raises OSError if ffmpeg cannot
    write.
    """
    raw = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps or "25")
    output = ffmpeg.output(
        raw,
        f"file:{path.absolute()}",
        vcodec="libx264",
        pix_fmt="yuv420p",
        crf=crf,
        format="mp4",
        movflags="+faststart",
        threads=1,
        fflags="+bitexact",
        **{"flags:v": "+bitexact"},
    ).global_args("-y", "-hide_banner", "-nostats", "-loglevel", "level+error")
    with _running([str(a) for a in ffmpeg.compile(output, cmd=ffmpeg_binary())], subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        log, pipe = _Log(process.stderr), process.stdin

        def write(frames: np.ndarray) -> None:
            view = memoryview(np.ascontiguousarray(frames).data).cast("B")
            while len(view):
                view = view[os.write(pipe.fileno(), view) :]

        try:
            yield write
            pipe.close()
        except BrokenPipeError:
            pass
        code = process.wait()
        log.finish()
        if code != 0:
            raise OSError(f"{path} could not be written: {'; '.join(log.errors[:2]) or f'ffmpeg ended with {code}'}")

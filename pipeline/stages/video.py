"""ffmpeg decodes videos, of which nothing is trusted but the frames that come out, and writes MP4."""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import ffmpeg
import numpy as np

from s2vc.pipeline.stages.ffmpeg_process import FfmpegLog, ffmpeg_binary, ffmpeg_process
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
    with ffmpeg_process(decode_command(path, height, width, frame_step)) as process:
        assert process.stdout is not None and process.stderr is not None
        log = FfmpegLog(process.stderr)
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
    with ffmpeg_process([str(a) for a in ffmpeg.compile(output, cmd=ffmpeg_binary())], subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        log, pipe = FfmpegLog(process.stderr), process.stdin

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

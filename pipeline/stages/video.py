"""ffmpeg decodes videos, of which nothing is trusted but the frames that come out, and writes MP4."""

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import ffmpeg
import numpy as np

from s2vc.pipeline.cache.settings import SQUEEZE
from s2vc.pipeline.choices import SILENCE_SECONDS
from s2vc.pipeline.stages.ffmpeg_log import FfmpegLog
from s2vc.pipeline.stages.ffmpeg_process import ffmpeg_binary, ffmpeg_process
from s2vc.pipeline.stages.frame_fit import fit_filters
from s2vc.pipeline.stages.video_streams import Stream, best_streams, video_streams
from s2vc.pipeline.storage.prefetch import prefetch

DECODE_FRAMES = 32
"""Frames are passed on this many at a time."""

PLANES = "gbrp"
"""This is ffmpeg's name of what comes through the pipe: complete planes of green, blue and red, in this order."""


MAX_PIXELS = 1 << 28
"""The decoder refuses frames of more pixels than this, 16,384 x 16,384."""

# These containers hold their own frames. Playlists and scripts (hls, dash, concat, …) are not among them: under the
# name of an .mp4 they would make ffmpeg read other files.
FORMATS = (
    "mov,matroska,avi,asf,flv,mpeg,mpegts,mpegvideo,gif,ogg,h264,hevc,m4v,ivf,rm,dv,mxf,nut,"
    "yuv4mpegpipe,apng,webp_anim,webp_pipe,3gp,webm,vob,wtv,av1,obu"
)


class DecodeError(OSError):
    """The decoder ended in a way that says nothing about the video, such as being killed."""


class DecodeStalled(DecodeError):
    """No byte came for as long as silence is allowed."""


@dataclass
class Decoded:
    """This is what came of one decoding.

    frames: how many were passed on. errors: what ffmpeg called an error of this stream, shortened. width, height: of
    the stream, in pixels, before any rotation; 0 where unknown. fps: frames per second by the header, "25" or
    "30000/1001"; "" where unknown. stream: its index in the file; None where the file has no other video stream.
    refused: why nothing was decoded though something could be; empty where that is not so.
    """

    frames: int = 0
    errors: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    fps: str = ""
    stream: int | None = None
    refused: str = ""


def decode_command(path: Path, height: int, width: int, stream: int | None = None, fit: str = SQUEEZE) -> list[str]:
    """Return the ffmpeg command that writes all frames of a video stream, the first or one by its index, as raw
    planes."""
    output = ffmpeg.output(
        _source(path)["V:0" if stream is None else str(stream)],
        "pipe:1",
        vf=fit_filters(height, width, fit, PLANES),
        format="rawvideo",
        # These are the values of rgb24, from a path of the scaler that takes two thirds of the time.
        pix_fmt=PLANES,
        # Passthrough gives every frame once, whatever its time stamp.
        fps_mode="passthrough",
        threads=1,
    )
    return _command(output)


def count_packets(path: Path, stream: int, silence: float = SILENCE_SECONDS) -> int:
    """Count the packets of a stream, one for each of its frames, without decoding them.

    Raises DecodeStalled if it takes more than `silence` seconds.
    """
    output = ffmpeg.output(_source(path)[str(stream)], "-", format="null", c="copy").global_args("-progress", "pipe:1")
    with ffmpeg_process(_command(output)) as process:
        try:
            said, _ = process.communicate(timeout=silence)
        except subprocess.TimeoutExpired:
            raise DecodeStalled from None
    counts = re.findall(rb"^frame=(\d+)$", said, re.MULTILINE)
    return int(counts[-1]) if counts else 0


def _source(path: Path) -> Any:
    # With two threads a damaged file decodes differently.
    return ffmpeg.input(
        f"file:{path.absolute()}",
        threads=1,
        protocol_whitelist="file",
        format_whitelist=FORMATS,
        max_pixels=MAX_PIXELS,
    )


def _command(output: Any) -> list[str]:
    quiet = output.global_args("-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info")
    return [str(a) for a in ffmpeg.compile(quiet, cmd=ffmpeg_binary())]


def choose_stream(path: Path, streams: Sequence[Stream], silence: float = SILENCE_SECONDS) -> int | None:
    """Return the index of the stream that players would show: default first, then most pixels, then most frames.

    None if there is no video stream. Raises ValueError, worded for a person, for a file of single pictures, and
    DecodeStalled if its frames cannot be counted in `silence` seconds.
    """
    best = best_streams(streams)
    if len(best) < 2:
        return best[0].index if best else None
    frames = [count_packets(path, s.index, silence) for s in best]
    if max(frames) <= 1:
        raise ValueError("it is a collection of still pictures, or one made of tiles")
    return best[frames.index(max(frames))].index


def decode_video(
    path: Path,
    height: int,
    width: int,
    take: Callable[[np.ndarray], None],
    frame_step: int = 1,
    silence: float = SILENCE_SECONDS,
    stream: int | None = None,
    fit: str = SQUEEZE,
) -> Decoded:
    """Decode a video, rotation applied, and pass every `frame_step`-th frame on: take((n, height, width, 3) uint8
    RGB), n <= 32.

    stream: the index of a stream in the file; by default the one that players would show. fit: what becomes of frames
    of another shape, one of cache.settings.FITS. Returns what came of it, even of a broken file. Raises DecodeStalled
    if no byte came for `silence` seconds, and DecodeError if ffmpeg was killed. No process is left behind.
    """
    with ffmpeg_process(decode_command(path, height, width, stream, fit)) as process:
        assert process.stderr is not None
        log = FfmpegLog(process.stderr)
        if not log.wait_for_header(silence):
            raise DecodeStalled
        videos = [s.index for s in video_streams(log.streams)]
        if log.tiles:
            return Decoded(refused="it is a still picture that is made of tiles")
        if stream is not None and log.streams and stream not in videos:
            return Decoded(refused=f"its stream {stream} is no video; those that are: {videos or 'none'}")
        try:
            best = stream if stream is not None else choose_stream(path, log.streams, silence)
        except ValueError as error:
            return Decoded(refused=str(error))
        if best in (None, stream, log.mapped):
            return _pass_on(process, log, (height, width), take, frame_step, silence)
    return decode_video(path, height, width, take, frame_step, silence, best, fit)


def _pass_on(
    process: "subprocess.Popen[bytes]",
    log: FfmpegLog,
    size: tuple[int, int],
    take: Callable[[np.ndarray], None],
    frame_step: int,
    silence: float,
) -> Decoded:
    """Pass frames on until ffmpeg ends, and return what came of it."""
    assert process.stdout is not None
    result, seen = Decoded(), 0
    # A thread reads the frames: a pipe holds a frame or two, and ffmpeg would stand still while the last ones are
    # stored.
    for frames in prefetch(_read_frames(process.stdout, *size, silence)):
        # They are counted here, since a filter of ffmpeg's counts anew where a stream changes its size or its colours.
        chosen = frames[-seen % frame_step :: frame_step]
        seen += len(frames)
        if len(chosen):
            take(chosen)
        result.frames += len(chosen)
    try:
        code = process.wait(silence)
    except subprocess.TimeoutExpired:
        raise DecodeStalled from None
    log.finish()
    if code < 0:
        raise DecodeError(f"ffmpeg was ended by signal {signal.Signals(-code).name}")
    result.errors = log.errors()
    videos = video_streams(log.streams)
    shown = next((s for s in videos if s.index == log.mapped), videos[0] if videos else None)
    if shown is not None:
        result.width, result.height, result.fps = shown.width, shown.height, shown.fps
        result.stream = shown.index if len(videos) > 1 else None
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
        # Without tags, players take HD for BT.709, and show other colours. The scaler's matrix is that of BT.601.
        colorspace="smpte170m",
        color_primaries="bt709",
        color_trc="bt709",
        color_range="tv",
        threads=1,
        fflags="+bitexact",
        **{"flags:v": "+bitexact"},
    ).global_args("-y", "-hide_banner", "-nostats", "-loglevel", "level+error")
    command = [str(a) for a in ffmpeg.compile(output, cmd=ffmpeg_binary(encoder=True))]
    with ffmpeg_process(command, subprocess.PIPE) as process:
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
            raise OSError(f"{path} could not be written: {'; '.join(log.errors()[:2]) or f'ffmpeg ended with {code}'}")

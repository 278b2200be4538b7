"""Stage one makes stored frames of a shard of videos: decoded, thinned, resized, as JPEG and as 64x64 for the flow."""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
import pandas as pd

from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.frames import FrameWriter, decode_jpegs, encode_jpegs, pool_small, write_frames
from s2vc.pipeline.cache.layout import INGEST, Layout
from s2vc.pipeline.cache.receipts import FAILED, MAX_FRAMES, OK, PARTIAL, Receipt, VideoRecord, make_receipt
from s2vc.pipeline.cache.renderings import remove_stale_latents
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.choices import SILENCE_SECONDS
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.reporting import report_within
from s2vc.pipeline.stages.declared_size import missing_end
from s2vc.pipeline.stages.video import Decoded, DecodeError, DecodeStalled, decode_video
from s2vc.pipeline.storage import files

COPY_FRAMES = 256
"""This many frames are copied from a spool to the shard at a time (5 MB)."""

# A broken mount or a dying disk answers with these errors; no video is to blame for them.
STORAGE_ERRNOS = {
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.ENODEV,
    errno.EREMOTEIO,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
}

NO_FILE = "there is no such file"
"""This is the reason of a row whose file is not there."""

STORAGE_WORDS = ("Input/output error", "No such file", "Permission denied", "Stale file handle", "not connected")
"""A message of the decoder with these words may be about the storage, and not about the video."""


class StorageError(OSError):
    """The videos cannot be reached at all; no video is to blame, and the shard stays unfinished."""


@dataclass(frozen=True)
class Source:
    """A source is a row of the manifest: video_id, and a path relative to the root (or absolute, below it)."""

    video_id: str
    path: str


def sources_of(manifest: pd.DataFrame) -> list[Source]:
    """Return the sources of a manifest's rows, in their order."""
    return [Source(*row) for row in manifest[["video_id", "path"]].itertuples(index=False, name=None)]


def ingest_shard(
    layout: Layout,
    settings: Settings,
    shard: int,
    sources: list[Source],
    root: Path,
    silence: float = SILENCE_SECONDS,
    known_failures: Mapping[str, str] = MappingProxyType({}),
) -> Receipt:
    """Ingest the videos of a shard; it is safe to run again, and gives the same bytes each time.

    silence: seconds without a byte after which a decoder is taken to be hung. known_failures: video_id -> reason, for
    videos that are not even opened, since they killed their worker. Raises OSError if storage fails.
    """
    frames, small = layout.frames(shard), layout.small(shard)
    videos = []
    with write_frames(frames, small) as writer:
        for source in sources:
            writer.begin(source.video_id)
            if source.video_id in known_failures:
                videos.append(VideoRecord(source.video_id, FAILED, known_failures[source.video_id]))
            else:
                videos.append(ingest_video(source, root, settings, writer, frames.parent, silence))
            report_within(len(videos), sum(video.frames for video in videos))
    receipt = make_receipt(layout, INGEST, shard, videos, {}, [frames, small])
    remove_stale_latents(LocalStorage(layout.root), shard, receipt)
    return receipt.write(layout)


def ingest_video(
    source: Source, root: Path, settings: Settings, writer: FrameWriter, scratch: Path, silence: float
) -> VideoRecord:
    """Ingest one video into a shard, all frames that decode or, if it fails, none, and return what became of it.

    Raises OSError if storage fails.
    """
    try:
        path = find_source(source, root, settings.follow_links)
    except ValueError as error:
        return VideoRecord(source.video_id, FAILED, str(error))
    size, digest = path.stat().st_size, files.sha256(path)
    try:
        with decoded_in_two_tries(path, settings, scratch, silence) as (decoded, spool):
            if (decoded.errors or not decoded.frames) and (reason := read_source_again(source, root, settings, digest)):
                return VideoRecord(source.video_id, FAILED, reason)
            if decoded.frames > MAX_FRAMES:
                return VideoRecord(source.video_id, FAILED, f"it has more than {MAX_FRAMES} frames", 0, size, digest)
            spool.copy_to(writer)
    except DecodeStalled:
        reason = f"the decoder gave nothing for {silence:g} s, twice"
        return VideoRecord(source.video_id, FAILED, reason, 0, size, digest)
    status, reason = judge(decoded, missing_end(path))
    return VideoRecord(
        source.video_id,
        status,
        reason,
        decoded.frames,
        size,
        digest,
        decoded.width,
        decoded.height,
        decoded.fps,
        decoded.stream,
    )


@contextmanager
def decoded_in_two_tries(
    path: Path, settings: Settings, scratch: Path, silence: float
) -> Iterator[tuple[Decoded, "_VideoSpool"]]:
    """Yield what came of decoding a video, and its frames in a spool: a killed decoder leaves nothing in the shard.

    If the first try may have failed for a reason that passes, such as a killed decoder or storage that did not answer,
    there is a second. Raises DecodeError if the second fails as well.
    """

    def decode(spool: _VideoSpool) -> Decoded:
        step, stream, fit = settings.frame_step, settings.stream, settings.fit
        return decode_video(path, *settings.frame_size, spool.take, step, silence, stream, fit)

    with _VideoSpool(scratch, settings.jpeg_quality) as spool:
        try:
            decoded = decode(spool)
            again = any(word in error for word in STORAGE_WORDS for error in decoded.errors)
        except DecodeError:
            again = True
        if not again:
            yield decoded, spool
            return
    with _VideoSpool(scratch, settings.jpeg_quality) as spool:
        yield decode(spool), spool


def find_source(source: Source, root: Path, follow_links: bool = False) -> Path:
    """Return the file of a manifest row. Raises ValueError, worded for a person, if there is none that may be read.

    follow_links: whether a link may lead out of the root. Raises StorageError if the root is gone, or a mount on the
    way to the file, and OSError if the storage fails; then no video is to blame.
    """
    path = Path(os.path.normpath(root / source.path))
    base = Path(os.path.normpath(root))
    if not path.is_relative_to(base):
        raise ValueError("the path leaves the root folder")
    try:
        if not follow_links and not _resolved(path).is_relative_to(base.resolve()):
            raise ValueError("a link leads out of the root folder (--follow-links --retry failed reads it)")
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ValueError("it is a folder, not a video")
        if not stat.S_ISREG(mode):
            raise ValueError("it is no regular file")
        if path.stat().st_size == 0:
            raise ValueError("the file is empty")
        with path.open("rb"):
            return path
    except PermissionError:
        if not os.access(base, os.R_OK | os.X_OK):
            raise StorageError(f"no permission to read the folder {base}") from None
        raise ValueError("no permission to read it") from None
    except (FileNotFoundError, NotADirectoryError):
        refuse_lost_mount(path, base)
        raise ValueError(NO_FILE) from None
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise
        raise ValueError(error.strerror or "it cannot be opened") from None


def _resolved(path: Path) -> Path:
    """Follow a path's links. Raises ValueError for links in a circle, which Python reports as a RuntimeError or not."""
    try:
        return path.resolve()
    except RuntimeError:
        raise ValueError("its links lead in a circle") from None


def refuse_lost_mount(path: Path, base: Path) -> None:
    """Raise StorageError if the nearest folder that is there, on the way from base to a missing file, is empty.

    The folder of a mount is empty when the mount is lost. If the folder holds something, the row simply names a file
    that does not exist. A missing base raises StorageError as well.
    """
    folder = path.parent
    while folder != base and not folder.exists():
        folder = folder.parent
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                return
    except FileNotFoundError:
        raise StorageError(f"there is no folder {folder}: is it mounted?") from None
    except (NotADirectoryError, PermissionError):
        return
    hint = "" if folder == base else " If nothing belongs there, remove it, and its videos count as missing."
    raise StorageError(f"{folder} is empty: is it mounted?{hint}")


def read_source_again(source: Source, root: Path, settings: Settings, sha256: str) -> str:
    """Read a video that did not decode well again; return what is wrong with the file, or "" if it is the same.

    Raises OSError if the storage fails: a decoder cannot distinguish a lost mount from a broken file.
    """
    try:
        changed = files.sha256(find_source(source, root, settings.follow_links)) != sha256
    except ValueError as error:
        return str(error)
    return "it changed while it was read" if changed else ""


def judge(decoded: Decoded, missing: str = "") -> tuple[str, str]:
    """Return status and reason of a video by the frames that came and ffmpeg's messages; exit codes and headers lie.

    missing: by what the file ends early, as `missing_end` says it.
    """
    said = " ".join(decoded.errors)
    first = decoded.errors[0][:200] if decoded.errors else ""
    if decoded.refused:
        return FAILED, decoded.refused
    if decoded.frames and missing:
        return PARTIAL, f"the file ends early: {missing}"
    if decoded.frames:
        return (PARTIAL, f"damaged; the decoder said: {first}") if first else (OK, "")
    if "not on whitelist" in said or "m3u8" in said:
        return FAILED, "it is a playlist, a script or another format that is not opened"
    if "matches no streams" in said:
        return FAILED, "it has no video stream"
    if "Invalid data found when processing input" in said or "moov atom not found" in said:
        return FAILED, f"it is no video, or damaged at its start; the decoder said: {first}"
    return (
        FAILED,
        f"no frame could be decoded; the decoder said: {first}" if first else "no frame could be decoded",
    )


class _VideoSpool:
    """This holds the frames of one video, JPEG and small, until it is known whether they are worth storing."""

    def __init__(self, folder: Path, jpeg_quality: int):
        self._quality = jpeg_quality
        self._jpeg: IO[bytes] = files.spool(folder)
        self._small: IO[bytes] = files.spool(folder)
        self._lengths: list[np.ndarray] = []

    def __enter__(self) -> "_VideoSpool":
        return self

    def __exit__(self, *_: object) -> None:
        self._jpeg.close()
        self._small.close()

    def take(self, frames: np.ndarray) -> None:
        """Add the next frames, (n, H, W, 3) uint8; small ones are pooled from what readers will decode."""
        jpegs = encode_jpegs(frames, self._quality)
        self._jpeg.write(b"".join(jpegs))
        self._small.write(pool_small(decode_jpegs(jpegs)).tobytes())
        self._lengths.append(np.array([len(j) for j in jpegs], np.int64))

    def copy_to(self, writer: FrameWriter) -> None:
        self._jpeg.seek(0)
        self._small.seek(0)
        lengths = np.concatenate([np.zeros(0, np.int64), *self._lengths])
        for start in range(0, len(lengths), COPY_FRAMES):
            part = lengths[start : start + COPY_FRAMES]
            small = np.frombuffer(self._small.read(len(part) * SMALL * SMALL * 3), np.uint8)
            writer.add(self._jpeg.read(int(part.sum())), part, small.reshape(-1, SMALL, SMALL, 3))

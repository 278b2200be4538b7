"""A shard of a stage is done when, and only when, its receipt is there."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from s2vc.manifests.errors import text_problem
from s2vc.pipeline.cache.layout import INGEST, Layout
from s2vc.pipeline.storage import files

OK, PARTIAL, FAILED = "ok", "partial", "failed"

MAX_FRAMES = 10_000_000
"""A video has at most this many frames, 111 hours at 25 a second; more in a forged receipt would fill the memory with
frame numbers."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FPS = re.compile(r"([0-9]{1,9}(/[1-9][0-9]{0,8})?)?")


@dataclass(frozen=True)
class VideoRecord:
    """A record says what became of a video.

    status: ok, partial (some frames, and errors) or failed (no frames). reason: why, for a person. frames: how many are
    stored. bytes, sha256: size and hash of the source file. width, height: its frames in pixels. fps: "25" or
    "30000/1001". stream: the index of the one that was read, of a file with several video streams; else None.
    """

    video_id: str
    status: str
    reason: str = ""
    frames: int = 0
    bytes: int = 0
    sha256: str = ""
    width: int = 0
    height: int = 0
    fps: str = ""
    stream: int | None = None


@dataclass(frozen=True)
class Receipt:
    """A receipt says that a stage has done a shard. It holds what became of each video, and the hash of each file.

    inputs, files: the SHA-256 of each file read and written. Paths are relative to the cache or, in an object store, to
    `prefix` in it, the folder of the attempt that made them. There are no times in a receipt: the same work gives the
    same receipt. notes: what the driver prints and adds to log.txt; they travel with a new receipt and are not stored
    with it.
    """

    stage: str
    shard: int
    videos: list[VideoRecord]
    inputs: dict[str, str]
    files: dict[str, str]
    prefix: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def frames(self) -> int:
        return sum(v.frames for v in self.videos)

    @property
    def video_offsets(self) -> np.ndarray:
        """These are the first frame of each video in the shard and, last, the number of frames: (V + 1,) int64."""
        return np.cumsum([0, *(v.frames for v in self.videos)], dtype=np.int64)

    def text(self) -> str:
        """Return the receipt as the JSON text that is stored."""
        content = dataclasses.asdict(self)
        del content["notes"]
        if not self.prefix:
            del content["prefix"]
        for video in content["videos"]:
            if video["stream"] is None:
                del video["stream"]
        return files.json_text(content)

    def write(self, layout: Layout) -> "Receipt":
        """Write the receipt into the cache, after all files of the shard, and return it."""
        files.write_text(layout.receipt(self.stage, self.shard), self.text())
        return self


def read_receipt(layout: Layout, stage: str, shard: int) -> Receipt | None:
    """Return the receipt of a shard, or None if the shard is not done or we could not have written the receipt."""
    receipt = load_receipt(layout, stage, shard)
    return None if receipt is None or receipt_fault(receipt, stage, shard) else receipt


def load_receipt(layout: Layout, stage: str, shard: int) -> Receipt | None:
    """Return what has a receipt's fields, whatever is in them, or None if there is no such file."""
    try:
        content: dict[str, Any] = files.read_json(layout.receipt(stage, shard))
        if "notes" in content:
            return None
        videos = [VideoRecord(**v) for v in content.pop("videos")]
        receipt = Receipt(videos=videos, **content)
        return receipt if _is_prefix(receipt.prefix, stage, shard) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def attempts_of(stage: str, shard: int) -> str:
    """Return the folder, in an object store, of all attempts at a shard."""
    return f"attempts/{stage}/{shard:05d}"


def _is_prefix(prefix: str, stage: str, shard: int) -> bool:
    folder, _, attempt = prefix.rpartition("/")
    return prefix == "" or (folder == attempts_of(stage, shard) and re.fullmatch("[0-9a-f]{16}", attempt) is not None)


def receipt_fault(receipt: Receipt, stage: str, shard: int) -> str:
    """Return what is wrong with a receipt, which anybody may have written by hand; empty if nothing is."""
    if receipt.stage != stage or receipt.shard != shard:
        return f"says that it is of stage {receipt.stage}, shard {receipt.shard}"
    for name, hashes in (("inputs", receipt.inputs), ("files", receipt.files)):
        if not isinstance(hashes, dict) or not all(map(_is_sha256, hashes.values())):
            return f"its {name} are not files with a SHA-256 each"
    for name in receipt.files:
        if not _is_inside(name):
            return f"names {name}, which is no file of this shard"
    for video in receipt.videos:
        fault = _video_fault(video)
        if fault:
            return f"the record of {video.video_id} is damaged: {fault}"
    return ""


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _video_fault(video: VideoRecord) -> str:
    for name in ("video_id", "status", "reason", "sha256", "fps"):
        if not isinstance(getattr(video, name), str):
            return f"{name} is no text"
        if problem := text_problem(getattr(video, name)):
            return f"{name} {problem}"
    for name in ("frames", "bytes", "width", "height"):
        if type(value := getattr(video, name)) is not int or value < 0:
            return f"{name} is no number of 0 or more"
    if video.stream is not None and (type(video.stream) is not int or video.stream < 0):
        return "stream is no number of 0 or more"
    if video.frames > MAX_FRAMES:
        return f"frames are {video.frames}, more than a video has"
    if not _FPS.fullmatch(video.fps):
        return f"fps is {video.fps!r}, which is no rate"
    if video.status not in (OK, PARTIAL, FAILED):
        return f"its status is {video.status!r}"
    if (video.status == FAILED) != (video.frames == 0):
        return f"its status is {video.status}, with {video.frames} frames"
    if (video.status == OK) != (video.reason == ""):
        return f"its status is {video.status}, {'with' if video.reason else 'without'} a reason"
    return ""


def _is_inside(name: str) -> bool:
    """Return whether a path below a cache leads nowhere else, whatever it is joined to."""
    return text_problem(name) == "" and all(part not in ("", ".", "..") for part in name.split("/"))


def make_receipt(
    layout: Layout,
    stage: str,
    shard: int,
    videos: list[VideoRecord],
    inputs: dict[str, str],
    written: list[Path],
    notes: tuple[str, ...] = (),
) -> Receipt:
    """Return the receipt of the files that were written, with their hashes; `Receipt.write` makes it count."""
    return Receipt(stage, shard, videos, inputs, files.hashes(written, layout.root), notes=notes)


def is_done(layout: Layout, stage: str, shard: int, before: Receipt | None) -> Receipt | None:
    """Return the receipt of a stage if it was made from what the stage before (`before`) wrote, of the same videos.

    For ingest, the first stage, any receipt will do. Return None if there is no such receipt.
    """
    receipt = read_receipt(layout, stage, shard)
    if receipt is None or stage == INGEST:
        return receipt
    if before is None or not receipt.inputs or receipt.videos != before.videos:
        return None
    if any(before.files.get(path) != digest for path, digest in receipt.inputs.items()):
        return None
    return receipt

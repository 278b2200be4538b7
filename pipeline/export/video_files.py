"""Write clips of a cache as files for other programs: MP4s or folders of JPEGs, in the source's folder structure."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np

from s2vc.manifests.errors import UserError, text_problem
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.frames import encode_jpegs
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.receipts import FAILED, is_done, read_receipt
from s2vc.pipeline.render_command import how_to_render
from s2vc.pipeline.stages.video import write_video
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant

ORIGINAL = "original"
"""The stored frames are exported under this name."""

FORMATS = ("mp4", "frames")

PIECE_FRAMES = 64
"""This many frames of a clip are in memory at a time."""

JPEG_QUALITY = 95

MAX_NAME_BYTES = 220
"""No part of a video_id may have more bytes: file systems stop at 255, and while a file is written its name is longer
than in the end."""


@dataclass(frozen=True)
class Clip:
    """Describes a clip to write.

    variant: None for the stored frames. window: the window's number in the video. frames: how many there are.
    fps: the frame rate as text, such as "25" or "30000/1001". target: the file, or folder of JPEGs, relative to the
    output folder.
    """

    video_id: str
    variant: Variant | None
    window: int
    frames: int
    fps: str
    target: PurePosixPath


@dataclass
class Export:
    """Holds the plan of an export and writes its clips.

    form: one of FORMATS. failed: how many videos failed, have no frames and are skipped. refused: video_id -> why the
    video is not written.
    """

    cache: Cache
    out: Path
    form: str
    clips: list[Clip] = field(default_factory=list)
    failed: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def write(self, clip: Clip) -> Path:
        """Write a clip, whole or not at all; return its path. Raises UserError if it cannot be read or written."""
        target = self.out / clip.target
        try:
            with files.attempt(target) as aside:
                (_write_mp4 if self.form == "mp4" else _write_jpegs)(aside, clip, _pieces(self.cache, clip))
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}") from error
        return target


def plan_export(
    cache: Cache,
    names: tuple[str, ...],
    out: Path,
    form: str = "mp4",
    video_ids: tuple[str, ...] = (),
    overwrite: bool = False,
) -> Export:
    """Plan the export of variants by name (or `original`), of all videos or of some; nothing is written yet.

    Raises UserError for an output folder in the cache, a name that is no variant, a variant that is not rendered
    completely, a video that is not in the cache, clips that would be written to the same place, and files that already
    exist (unless `overwrite`).
    """
    if out.resolve().is_relative_to(cache.layout.root.resolve()):
        raise UserError(f"{out} lies in the cache, where no clips belong; choose another --out")
    variants = list(dict.fromkeys(_variant(name) for name in names))
    _refuse_unrendered(cache, [v for v in variants if v is not None])
    export = Export(cache, out, form)
    stems = Counter(_without_ending(video_id) for video_id in cache.index["video_id"])
    taken = {PurePosixPath(video_id) for video_id in cache.index["video_id"]}
    for video_id, frames, status in _rows(cache, video_ids):
        refusal = _name_problem(video_id)
        if status == FAILED:
            export.failed += 1
        elif refusal:
            export.refused[video_id] = refusal
        else:
            fps = cache.frame_rate(video_id)
            name = _without_ending(video_id)
            if stems[name] > 1 or name in taken:  # Videos that differ in their endings alone keep them.
                name = PurePosixPath(video_id)
            export.clips += [c for v in variants for c in _clips(video_id, name, v, frames, fps, form)]
    _refuse_collisions(export.clips)
    _refuse_standing(export, overwrite)
    return export


def _variant(name: str) -> Variant | None:
    """Return the variant of this name, None for `original`. Raises UserError for a name that is neither."""
    if name == ORIGINAL:
        return None
    try:
        return Variant.parse(name)
    except ValueError as error:
        raise UserError(f"{error}; or {ORIGINAL}, for the stored frames") from None


def _refuse_unrendered(cache: Cache, variants: list[Variant]) -> None:
    """Raise UserError if a shard is not encoded, or lacks one of the variants."""
    layout = cache.layout
    cache.storage.fetch_receipts(INGEST, ENCODE, *map(motion_stage, variants))
    for shard in range(len(cache.settings.shards())):
        encoded = is_done(layout, ENCODE, shard, read_receipt(layout, INGEST, shard))
        if encoded is None:
            raise UserError(f"{cache.storage} is not completely encoded: run `s2vc-prep encode` again to finish it")
        for variant in variants:
            if is_done(layout, motion_stage(variant), shard, encoded) is None:
                raise UserError(
                    f"{variant.name} is not rendered, or not for all videos: "
                    f"run `{how_to_render(cache.storage, variant)}` first"
                )


def _rows(cache: Cache, video_ids: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
    """Yield video_id, number of frames and status of the wanted videos (all, if none are named), in the index's order.

    Raises UserError for a video that is not in the cache.
    """
    known = set(cache.index["video_id"])
    for video_id in video_ids:
        if video_id not in known:
            raise UserError(f"no video {video_id!r} in {cache.storage}")
    wanted = cache.index[cache.index["video_id"].isin(video_ids)] if video_ids else cache.index
    yield from wanted[["video_id", "frames", "status"]].itertuples(index=False, name=None)


def _name_problem(video_id: str) -> str:
    """Return why no file can be named after a video_id, which can be any text; empty if one can."""
    path = PurePosixPath(video_id)
    if problem := text_problem(video_id):
        return f"its name {problem}"
    # `...mp4` without its extension is `..`, which also leads out of the folder.
    if path.is_absolute() or ".." in path.parts or path.stem in ("", ".", ".."):
        return "its name leads out of the output folder"
    if any(len(part.encode()) > MAX_NAME_BYTES for part in path.parts):
        return "its name is too long"
    return ""


def _without_ending(video_id: str) -> PurePosixPath:
    path = PurePosixPath(video_id)
    return path.parent / path.stem


def _clips(
    video_id: str, name: PurePosixPath, variant: Variant | None, frames: int, fps: Fraction, form: str
) -> Iterator[Clip]:
    """Yield the clips of a video: one, or for scope `clip` one for each window, whose number then ends the name."""
    stem = PurePosixPath(variant.name if variant else ORIGINAL) / name
    ending = ".mp4" if form == "mp4" else ""
    if variant is None or variant.rule.scope == "video":
        yield Clip(video_id, variant, 0, frames, str(fps), stem.with_name(stem.name + ending))
        return
    for number, window in enumerate(variant.rule.windows(frames)):
        target = stem.with_name(f"{stem.name}_w{number:03d}{ending}")
        yield Clip(video_id, variant, number, len(window), str(fps / variant.rule.frame_step), target)


def _refuse_collisions(clips: list[Clip]) -> None:
    """Raise UserError if two videos would be written to the same place, or one inside the other's folder."""
    owners: dict[PurePosixPath, str] = {}
    for clip in clips:
        other = owners.setdefault(clip.target, clip.video_id)
        if other != clip.video_id:
            raise UserError(f"{other!r} and {clip.video_id!r} would both be written to {clip.target}")
    for clip in clips:
        for folder in clip.target.parents:
            if folder in owners:
                raise UserError(
                    f"{owners[folder]!r} would be written to {folder}, where {clip.video_id!r} needs a folder"
                )


def _refuse_standing(export: Export, overwrite: bool) -> None:
    """Raise UserError if something exists at a clip's target that may not be replaced."""
    for clip in export.clips:
        target = export.out / clip.target
        if not os.path.lexists(target):
            continue
        if not overwrite:
            raise UserError(f"{target} is there already; give --overwrite to write it anew")
        if export.form == "mp4" and target.is_dir():
            raise UserError(f"{target} is a folder, and is not replaced by a file")
        # A folder is replaced with all that is in it, so it must be one that an export has written.
        if export.form == "frames" and not (target.is_dir() and all(map(_IMAGE.fullmatch, os.listdir(target)))):
            raise UserError(f"{target} is no folder of exported frames, and is not replaced")


_IMAGE = re.compile(r"img_\d{5,}\.jpg")


def _pieces(cache: Cache, clip: Clip) -> Iterator[np.ndarray]:
    """Yield the frames of a clip in order, up to PIECE_FRAMES at a time, (n, H, W, 3) uint8.

    Raises UserError if the cache is damaged.
    """
    for start in range(0, clip.frames, PIECE_FRAMES):
        stop = min(start + PIECE_FRAMES, clip.frames)
        with damage_as_user_error(clip.video_id, cache.storage):
            if clip.variant is None:
                piece = cache.frames(clip.video_id, start, stop)
            else:
                piece = cache.motion_preserved(clip.video_id, clip.variant, clip.window, start, stop)
        yield piece


def _write_mp4(path: Path, clip: Clip, pieces: Iterator[np.ndarray]) -> None:
    """Write H.264 in yuv420p, which needs even sizes: where a size is odd, the last row or column is repeated."""
    first = next(pieces)
    height, width = first.shape[1:3]
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    with write_video(path, height + height % 2, width + width % 2, clip.fps) as write:
        write(np.pad(first, odd, "edge"))
        for piece in pieces:
            write(np.pad(piece, odd, "edge"))


def _write_jpegs(path: Path, clip: Clip, pieces: Iterator[np.ndarray]) -> None:
    """Write the frames as img_00001.jpg and so on into a new folder."""
    path.mkdir()
    number = 0
    for piece in pieces:
        for jpeg in encode_jpegs(piece, JPEG_QUALITY):
            number += 1
            (path / f"img_{number:05d}.jpg").write_bytes(jpeg)

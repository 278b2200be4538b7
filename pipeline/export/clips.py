"""List the clips that an export writes, and name them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath

from s2vc.manifests.errors import UserError, text_problem
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.layout import ENCODE, INGEST, motion_stage
from s2vc.pipeline.cache.receipts import FAILED, is_done, read_receipt
from s2vc.pipeline.choices import EXPORT_ENDINGS, ORIGINAL
from s2vc.pipeline.render_command import how_to_render
from s2vc.pipeline.variants import Variant

MAX_NAME_BYTES = 220
"""No part of a video_id may have more bytes: file systems stop at 255, and while a file is written its name is longer
than in the end."""


@dataclass(frozen=True)
class Clip:
    """Describes a clip to write.

    row: of its video in the index of the cache. variant: None for the stored frames. window: the window's number in the
    video. frames: how many there are. fps: the frame rate as text, such as "25" or "30000/1001". name: the file, or
    folder of JPEGs, relative to the folder of the variant.
    """

    video_id: str
    row: int
    variant: Variant | None
    window: int
    frames: int
    fps: str
    name: PurePosixPath


@dataclass(frozen=True)
class ClipList:
    """Holds the clips of a variant, of all videos of a cache.

    failed: how many videos failed, and have no frames. refused: video_id -> why the video cannot be written.
    """

    clips: list[Clip]
    failed: int
    refused: dict[str, str]


def list_clips(cache: Cache, variant: Variant | None, form: str) -> ClipList:
    """List the clips of a variant, or of the stored frames. form: one of EXPORT_FORMATS.

    Raises UserError for clips that would be written to the same place.
    """
    ids = cache.index["video_id"].tolist()
    stems = Counter(map(_without_ending, ids))
    taken = set(map(PurePosixPath, ids))
    found = ClipList([], int((cache.index["status"] == FAILED).sum()), {})
    for row, (video_id, frames, status) in enumerate(_rows(cache)):
        if status == FAILED:
            continue
        if refusal := _name_problem(video_id):
            found.refused[video_id] = refusal
            continue
        name = _without_ending(video_id)
        if stems[name] > 1 or name in taken:  # Videos that differ in their endings alone keep them.
            name = PurePosixPath(video_id)
        fps = cache.frame_rate(video_id)
        found.clips.extend(_clips(video_id, row, name, variant, frames, fps, EXPORT_ENDINGS[form]))
    _refuse_collisions(found.clips)
    return found


def parse_variant(name: str) -> Variant | None:
    """Return the variant of this name, None for `original`. Raises UserError for a name that is neither."""
    if name == ORIGINAL:
        return None
    try:
        return Variant.parse(name)
    except ValueError as error:
        raise UserError(f"{error}; or {ORIGINAL}, for the stored frames") from None


def refuse_unrendered(cache: Cache, variants: list[Variant]) -> None:
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


def _rows(cache: Cache) -> Iterator[tuple[str, int, str]]:
    """Yield video_id, number of frames and status of all videos, in the index's order."""
    yield from cache.index[["video_id", "frames", "status"]].itertuples(index=False, name=None)


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
    video_id: str, row: int, name: PurePosixPath, variant: Variant | None, frames: int, fps: Fraction, ending: str
) -> Iterator[Clip]:
    """Yield the clips of a video: one, or for scope `clip` one for each window, whose number then ends the name."""
    if variant is None or variant.rule.scope == "video":
        yield Clip(video_id, row, variant, 0, frames, str(fps), name.with_name(name.name + ending))
        return
    for number, window in enumerate(variant.rule.windows(frames)):
        numbered = name.with_name(f"{name.name}_w{number:03d}{ending}")
        yield Clip(video_id, row, variant, number, len(window), str(fps / variant.rule.frame_step), numbered)


def _refuse_collisions(clips: list[Clip]) -> None:
    """Raise UserError if two videos would be written to the same place, or one inside the other's folder."""
    owners: dict[PurePosixPath, str] = {}
    for clip in clips:
        other = owners.setdefault(clip.name, clip.video_id)
        if other != clip.video_id:
            raise UserError(f"{other!r} and {clip.video_id!r} would both be written to {clip.name}")
    for clip in clips:
        for folder in clip.name.parents:
            if folder in owners:
                raise UserError(
                    f"{owners[folder]!r} would be written to {folder}, where {clip.video_id!r} needs a folder"
                )

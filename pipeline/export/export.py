"""Export variants of a cache as clips for other programs; an export that was stopped is gone on with."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.layout import INGEST, motion_stage
from s2vc.pipeline.cache.receipts import read_receipt
from s2vc.pipeline.choices import ORIGINAL
from s2vc.pipeline.export.clips import Clip, list_clips, parse_variant, refuse_unrendered
from s2vc.pipeline.export.labels import write_label_tables
from s2vc.pipeline.export.video_files import write_jpeg_clip, write_mp4_clip
from s2vc.pipeline.export.webdataset import write_tar
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant

RECORD = "export.json"
"""This file in the folder of a variant says what its clips were made from."""

_IMAGE = re.compile(r"img_\d{5,}\.jpg")


@dataclass(frozen=True)
class ExportPart:
    """A part of an export is written whole or not at all: a clip, or with webdataset the clips of a shard.

    path: the file or folder, relative to the folder of the variant.
    """

    path: Path
    shard: int
    clips: list[Clip]

    @property
    def frames(self) -> int:
        return sum(clip.frames for clip in self.clips)


class VariantExport:
    """Plans and writes the export of one variant, or of the stored frames, into its folder.

    parts: what is to be written. done: how many clips are there already. failed: how many videos have no frames.
    refused: video_id -> why the video is not written.
    """

    def __init__(self, cache: Cache, variant: Variant | None, out: Path, form: str, video_ids: tuple[str, ...]):
        self._cache, self._variant, self._form = cache, variant, form
        self.folder = out / (variant.name if variant else ORIGINAL)
        listed = list_clips(cache, variant, form)
        wanted = set(video_ids or cache.index["video_id"])
        self._clips = listed.clips
        self.failed = listed.failed if not video_ids else 0
        self.refused = {video_id: why for video_id, why in listed.refused.items() if video_id in wanted}
        self._digests = {shard: self._digest(shard) for shard in range(len(cache.settings.shards()))}
        self._before = self._read_record()
        self._planned = list(self._parts([clip for clip in listed.clips if clip.video_id in wanted]))
        self.parts = self._planned

    def plan(self, overwrite: bool) -> None:
        """Choose the parts to write: those that are not there, or were made from what the cache no longer holds.

        Raises UserError for what is there and was not written by an export, unless `overwrite`, or may never be
        replaced.
        """
        for part in self._planned:
            self._refuse_standing(part, overwrite)
        if not overwrite:
            self.parts = [part for part in self._planned if not self._is_done(part)]

    @property
    def done(self) -> int:
        return sum(len(part.clips) for part in self._planned) - sum(len(part.clips) for part in self.parts)

    def begin(self) -> None:
        """Remove what is to be written anew or was left half written, and record what the clips are made from.

        Raises UserError if nothing can be written.
        """
        try:
            for part in self.parts:
                files.remove(self.folder / part.path)
            for folder in {(self.folder / part.path).parent for part in self.parts}:
                files.remove_half_written(folder)
            files.write_json(self.folder / RECORD, {"format": self._form, "shards": self._recorded()})
        except OSError as error:
            raise UserError(f"cannot write {self.folder / RECORD}: {error.strerror or error}") from error

    def _recorded(self) -> dict[int, str]:
        """Return the digest of each shard, or the one of before, as long as clips stand that were made from that."""
        before, written = self._before or {}, {part.path for part in self.parts}
        stale = {
            part.shard
            for part in self._parts(self._clips)
            if before.get(part.shard) != self._digests[part.shard]
            and part.path not in written
            and os.path.lexists(self.folder / part.path)
        }
        return {shard: before.get(shard, "") if shard in stale else made for shard, made in self._digests.items()}

    def write(self, part: ExportPart) -> None:
        """Write a part, whole or not at all. Raises UserError if it cannot be read or written."""
        target = self.folder / part.path
        try:
            with files.attempt(target) as aside:
                if self._form == "webdataset":
                    write_tar(aside, self._cache, part.clips)
                else:
                    (write_mp4_clip if self._form == "mp4" else write_jpeg_clip)(aside, self._cache, part.clips[0])
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}") from error

    def end(self) -> list[str]:
        """Write the tables of the clips that are there; return lines on what they leave out."""
        if self._form == "webdataset":
            return []  # A tar has the labels of its clips.
        clips = [clip for clip in self._clips if os.path.lexists(self.folder / clip.name)]
        return write_label_tables(self.folder, self._cache, clips, self._form)

    def _parts(self, clips: list[Clip]) -> Iterator[ExportPart]:
        shards = self._cache.index["shard"].tolist()
        if self._form != "webdataset":
            for clip in clips:
                yield ExportPart(Path(clip.name), shards[clip.row], [clip])
            return
        by_shard: dict[int, list[Clip]] = {}
        for clip in clips:
            by_shard.setdefault(shards[clip.row], []).append(clip)
        for shard, members in by_shard.items():
            yield ExportPart(Path(f"{shard:05d}.tar"), shard, members)

    def _digest(self, shard: int) -> str:
        """Return a hash of the receipts of what the clips of a shard are made from."""
        stages = [INGEST] if self._variant is None else [INGEST, motion_stage(self._variant)]
        receipts = [read_receipt(self._cache.layout, stage, shard) for stage in stages]
        made_from: list[Any] = [receipt.files if receipt else {} for receipt in receipts]
        if self._form == "webdataset":  # Its tars hold the labels as well.
            index = self._cache.index
            made_from.append(index[index["shard"] == shard].to_csv(index=False))
        text = json.dumps(made_from, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _read_record(self) -> dict[int, str] | None:
        """Return the digests of an export that was begun here before; None if there was none.

        Raises UserError for a record that is damaged, or of another format.
        """
        path = self.folder / RECORD
        if not path.exists():
            return None
        try:
            content = files.read_json(path)
            form, shards = content["format"], {int(k): str(v) for k, v in content["shards"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{path} is damaged; choose another --out") from None
        if form != self._form:
            raise UserError(f"{self.folder} holds an export of format {form}, not {self._form}; choose another --out")
        return shards

    def _is_done(self, part: ExportPart) -> bool:
        made_from = (self._before or {}).get(part.shard)
        return made_from == self._digests[part.shard] and os.path.lexists(self.folder / part.path)

    def _refuse_standing(self, part: ExportPart, overwrite: bool) -> None:
        """Raise UserError if something exists at a part's path that may not be replaced."""
        target = self.folder / part.path
        if not os.path.lexists(target):
            return
        if self._before is None and not overwrite:
            raise UserError(f"{target} is there already, and no export has written it; --overwrite writes it anew")
        if self._form != "frames" and target.is_dir():
            raise UserError(f"{target} is a folder, and is not replaced by a file")
        # A folder is replaced with all that is in it, so it must be one that an export has written.
        if self._form == "frames" and not (target.is_dir() and all(map(_IMAGE.fullmatch, os.listdir(target)))):
            raise UserError(f"{target} is no folder of exported frames, and is not replaced")


def plan_exports(
    cache: Cache,
    names: tuple[str, ...],
    out: Path,
    form: str = "mp4",
    video_ids: tuple[str, ...] = (),
    overwrite: bool = False,
) -> list[VariantExport]:
    """Plan the export of variants by name (or `original`), of all videos or of some; nothing is written yet.

    Raises UserError for an output folder in the cache, a name that is no variant, a variant that is not rendered
    completely, a video that is not in the cache, clips that would be written to the same place, and files that already
    exist and that no export has written (unless `overwrite`).
    """
    if out.resolve().is_relative_to(cache.layout.root.resolve()):
        raise UserError(f"{out} lies in the cache, where no clips belong; choose another --out")
    variants = list(dict.fromkeys(parse_variant(name) for name in names))
    refuse_unrendered(cache, [v for v in variants if v is not None])
    if video_ids and form == "webdataset":
        raise UserError("a tar of webdataset holds all videos of a shard: it cannot be made of some of them (--video)")
    known = set(cache.index["video_id"])
    if missing := [video_id for video_id in video_ids if video_id not in known]:
        raise UserError(f"no video {missing[0]!r} in {cache.storage}")
    exports = [VariantExport(cache, variant, out, form, video_ids) for variant in variants]
    for export in exports:
        export.plan(overwrite)
    return exports

"""Write the controlled set to disk: its videos, drawn by several processes, its manifest and its settings."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from s2vc.manifests.choices import TEST_PARTS, TRAIN
from s2vc.manifests.controlled import ControlledVideo, check_size, draw_video, plan_part
from s2vc.manifests.errors import UserError, refuse_other_settings
from s2vc.manifests.motions import MOTIONS
from s2vc.manifests.table import build_table, record_root, write_manifest
from s2vc.pipeline.choices import CRF
from s2vc.pipeline.demo.drawn_videos import DrawnFolder
from s2vc.pipeline.jobs.process_pool import process_pool
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import LOCK


@dataclass(frozen=True)
class SampleSettings:
    """Holds the settings that decide every byte of a controlled set.

    per_class, test_per_class: videos of each motion in training, and in each test part. shift: RHO, the probability
    that a training video has the scene that belongs to its motion. frames: of each video. size: (height, width) in
    pixels. crf: libx264's constant rate factor. tests: the test parts that are drawn.
    """

    per_class: int
    test_per_class: int
    shift: float = 0.0
    frames: int = 36
    size: tuple[int, int] = (96, 128)
    seed: int = 0
    crf: int = CRF
    tests: tuple[str, ...] = TEST_PARTS

    def check(self) -> None:
        """Raise UserError for settings with which no set can be drawn."""
        if not 0 <= self.shift <= 1:
            raise UserError(f"shift is a probability, 0 to 1, not {self.shift}")
        try:
            check_size(self.size)
        except ValueError as error:
            raise UserError(str(error)) from None

    def plan(self) -> list[ControlledVideo]:
        """Return all videos of the set, training first, then the test parts in their order."""
        counts = {TRAIN: self.per_class, **dict.fromkeys(self.tests, self.test_per_class)}
        return [v for part, count in counts.items() for v in plan_part(part, count, self.shift, self.seed)]


@dataclass(frozen=True)
class SampleFolder(DrawnFolder):
    """Names the files in the folder of a controlled set."""

    @property
    def settings(self) -> Path:
        return self.root / "sample.json"

    @property
    def contact_sheet(self) -> Path:
        return self.root / "sheet.png"

    def open(self, settings: SampleSettings) -> None:
        """Begin a set in this folder, or resume the one in it, and remove what a stopped job left half written.

        Raises UserError if the folder holds something else, or a set with other settings.
        """
        wanted = {**dataclasses.asdict(settings), "size": list(settings.size), "tests": list(settings.tests)}
        if self.settings.exists():
            refuse_other_settings(self.root, "set", _read_settings(self.settings), wanted)
            for folder in {path.parent for path in self.root.rglob(f"*{files.ATTEMPT}*")}:
                files.remove_half_written(folder)
        elif any(path.name != LOCK for path in self.root.iterdir()):
            raise UserError(f"{self.root} holds something else; choose another OUT")
        else:
            files.write_json(self.settings, wanted)


def _read_settings(path: Path) -> dict[str, object]:
    try:
        content = files.read_json(path)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged; choose another OUT")
    return content


def draw_missing(
    folder: SampleFolder, settings: SampleSettings, videos: Sequence[ControlledVideo], workers: int | None
) -> Iterator[str]:
    """Draw and write videos in `workers` processes (None: one for each CPU); yield each video_id once it is written.

    Raises OSError if storage fails, and Stopped if a process was killed.
    """
    count = min(workers or len(os.sched_getaffinity(0)), len(videos))
    with process_pool(max(count, 1), "a process that draws was killed; run the same command again to go on") as pool:
        waiting = {pool.submit(_draw, folder, video, settings): video.video_id for video in videos}
        for done in as_completed(waiting):
            done.result()
            yield waiting.pop(done)


def _draw(folder: SampleFolder, video: ControlledVideo, settings: SampleSettings) -> None:
    frames, masks = draw_video(video, settings.frames, settings.size)
    folder.write(video.video_id, frames, masks, settings.crf)


def manifest_of(videos: Sequence[ControlledVideo]) -> pd.DataFrame:
    """Return the manifest of a set: label and class_name are the motion's number and name; there is a split column for
    each test part, and columns part, motion and scene."""
    columns = {
        "video_id": [v.video_id for v in videos],
        "label": [str(MOTIONS.index(v.motion)) for v in videos],
        "class_name": [v.motion for v in videos],
    }
    drawn = {v.part for v in videos}
    for part in (p for p in TEST_PARTS if p in drawn):
        roles = {TRAIN: "train", part: "test"}
        columns[f"split_{part}"] = [roles.get(v.part, "") for v in videos]
    for name in ("part", "motion", "scene"):
        columns[name] = [getattr(v, name) for v in videos]
    return build_table(columns)


def write_labels(folder: SampleFolder, videos: Sequence[ControlledVideo]) -> None:
    """Write the manifest of a set."""
    record_root(folder.manifest, folder.videos)
    write_manifest(manifest_of(videos), folder.manifest)

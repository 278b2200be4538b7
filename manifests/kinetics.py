"""Kinetics, from its CSV files, and Kinetics-200, which is drawn from Kinetics-400."""

import functools
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from s2vc.manifests.errors import UserError, text_problem
from s2vc.manifests.listed_videos import ROLE_SPELLINGS, ROLES, ListedVideos
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed
from s2vc.manifests.table import number_classes
from s2vc.manifests.text import parse_whole_number, read_csv

_COLUMNS = ("youtube_id", "time_start", "time_end", "split")
_K200_CLASSES, _K200_VIDEOS = 200, {"train": 400, "val": 25}


def read_kinetics(root: Path, csvs: Sequence[Path], chosen: Mapping[str, str] | None = None) -> Reading:
    """Read Kinetics under root, from CSV files with columns youtube_id, time_start, time_end, split, mostly label.

    The split column is split1; labels number the sorted class names of all the files together. A video is looked for as
    ID_START_END (seconds, six digits, any video ending) in the root and in the folder of its split (train, val,
    validate, ...), there in the folder of its class (spaces kept or underscores) or directly. chosen: role in the split
    by YouTube id, of the videos that are taken; None takes all, with the roles of the files. Raises UserError for a
    line that does not parse, and where no listed video is on disk.
    """
    disk = FolderFiles(root)
    listed_videos = ListedVideos()
    for path in csvs:
        _read_csv(path, listed_videos, chosen)
    table = listed_videos.table(number_classes=True)

    @functools.cache
    def folders(class_name: str, role: str) -> list[str]:
        return [folder for folder in _folders(class_name, role) if disk.has_files(folder)]

    def places(video_id: str, class_name: str, role: str) -> Iterator[str]:
        name = video_id.removeprefix(f"{class_name}/")
        # Videos that are chosen may lie where Kinetics has them, in the folder of another role.
        roles = [role] if chosen is None else [role, *(other for other in ROLE_SPELLINGS if other != role)]
        return (posixpath.join(folder, name) for each in roles for folder in folders(class_name, each))

    rows = zip(*(table[name].tolist() for name in ("video_id", "class_name", "split1")), strict=True)
    return find_listed(table, disk, (places(*row) for row in rows))


def kinetics200(reading: Reading, seed: int) -> Reading:
    """Draw the 200 classes with most training videos (ties by name), 400 training and 25 validation videos each.

    Where there are fewer classes or videos, all are taken. The draw depends on the seed (0 or more) and the set of
    videos, not on the order of rows. Raises UserError where there are no training videos.
    """
    table = reading.table
    videos = table.groupby(["class_name", "split1"])["video_id"].agg(sorted).to_dict()
    sizes = {name: len(ids) for (name, role), ids in videos.items() if role == "train" and name}
    if not sizes:
        raise UserError("no training videos to draw Kinetics-200 from")
    classes = sorted(sizes, key=lambda name: (-sizes[name], name))[:_K200_CLASSES]
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for name in sorted(classes):
        for role, most in _K200_VIDEOS.items():
            ids = videos.get((name, role), [])
            drawn.update(ids[place] for place in rng.choice(len(ids), min(most, len(ids)), replace=False))
    table = table[table["video_id"].isin(drawn)].sort_values("video_id", ignore_index=True)
    table = table.assign(label=number_classes(table["class_name"].tolist())).astype("str")
    note = f"Kinetics-200: {len(table)} videos of {len(classes)} classes, of {len(reading.table)} videos"
    return Reading(table, reading.missing, [*reading.notes, note])


def _read_csv(path: Path, listed_videos: ListedVideos, chosen: Mapping[str, str] | None) -> None:
    rows = read_csv(path)
    header = [name.strip() for name in next(rows)[1]]
    if lacking := [name for name in _COLUMNS if name not in header]:
        raise UserError(f"{path}: no column {lacking[0]}")
    for where, cells in rows:
        row = dict(zip(header, cells, strict=True))
        class_name, role = row.get("label", ""), ROLES.get(row["split"])
        start, end = parse_whole_number(row["time_start"]), parse_whole_number(row["time_end"])
        if start is None or end is None or role is None or not row["youtube_id"]:
            raise UserError(f"{where}: not a youtube_id, two whole seconds and a split")
        if chosen is not None and (role := chosen.get(row["youtube_id"])) is None:
            continue
        name = f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
        video_id = f"{class_name}/{name}" if class_name else name
        if problem := text_problem(video_id):
            raise UserError(f"{where}: {video_id!r} {problem}")
        listed_videos.add(video_id, "", class_name, "split1", role, where)


def _folders(class_name: str, role: str) -> Iterator[str]:
    """Yield the folders in which people keep the videos of a class and split."""
    for top in ("", *ROLE_SPELLINGS[role]):
        for name in dict.fromkeys((class_name, class_name.replace(" ", "_"), "")):
            yield posixpath.join(top, name) if name else top

"""Mini-Kinetics-200 (Xie et al., ECCV 2018), from its own lists of YouTube ids and the CSV files of Kinetics-400."""

import re
from collections.abc import Sequence
from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.manifests.kinetics import read_kinetics
from s2vc.manifests.on_disk import Reading
from s2vc.manifests.text import read_lines

_LISTS = {"train_ytid_list.txt": "train", "val_ytid_list.txt": "val"}
_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)


def read_mini_kinetics(root: Path, lists: Path, csvs: Sequence[Path]) -> Reading:
    """Read Mini-Kinetics under root, with split1: train and val.

    lists: the folder of train_ytid_list.txt and val_ytid_list.txt, an id a line, which name no class. csvs: those of
    Kinetics-400, which give classes and times; videos are looked for as `read_kinetics` does, and labels number the
    sorted class names of the listed videos. A note counts ids that no CSV has. Raises UserError for a missing list, a
    line that is no id, an id in both lists, and where no listed video is on disk.
    """
    roles = _read_roles(lists)
    reading = read_kinetics(root, csvs, roles)
    known = set(reading.table["video_id"]) | set(reading.missing["video_id"])
    found = {Path(video_id).stem.rsplit("_", 2)[0] for video_id in known}
    if lost := len(roles.keys() - found):
        reading.notes.append(f"{lost} of {len(roles)} ids of Mini-Kinetics are in none of the CSV files")
    return reading


def _read_roles(lists: Path) -> dict[str, str]:
    """Read the role of each id."""
    roles: dict[str, str] = {}
    for name, role in _LISTS.items():
        for where, line in read_lines(lists / name):
            if not _YOUTUBE_ID.fullmatch(line):
                raise UserError(f"{where}: {line!r} is not the id of a YouTube video, 11 characters")
            if roles.setdefault(line, role) != role:
                raise UserError(f"{where}: {line} is {role} here and {roles[line]} in the other list")
    return roles

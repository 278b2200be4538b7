"""HMDB51 and JHMDB, from their own lists (`CLASS_test_splitN.txt`), with all the splits that are there side by side."""

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from s2vc.manifests.errors import UserError, text_problem
from s2vc.manifests.listed_videos import ListedVideos
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed
from s2vc.manifests.text import read_lines

_LIST_NAME = re.compile(r"(?P<class_name>.+)_test_split(?P<number>[1-3])\.txt")
_ROLES = {"0": "", "1": "train", "2": "test"}
_CLASSES = {"HMDB51": 51, "JHMDB": 21}
_JHMDB_FOLDERS = ("", "ReCompress_Videos")


def read_hmdb51(root: Path, lists: Path) -> Reading:
    """Read HMDB51 under root (`class/name.avi`) with split1 to split3, as far as the folder lists has them.

    Labels number the sorted class names. A video that a split does not use (0) has an empty role in it. Raises
    UserError for missing lists, a line that does not parse, and where no listed video is on disk.
    """
    return _read(root, lists, "HMDB51", ("",))


def read_jhmdb(root: Path, lists: Path) -> Reading:
    """Read JHMDB under root (`class/name.avi`, there or in ReCompress_Videos/) with split1 to split3, as far as the
    folder lists (its `splits`) has them. Labels and errors are as `read_hmdb51` has them."""
    return _read(root, lists, "JHMDB", _JHMDB_FOLDERS)


def _read(root: Path, lists: Path, name: str, folders: Sequence[str]) -> Reading:
    disk = FolderFiles(root)
    listed_videos = ListedVideos()
    classes = _lists_by_class(lists)
    for class_name, by_number in classes.items():
        for number, path in by_number.items():
            for where, line in read_lines(path):
                video, _, role = line.rpartition(" ")
                if role not in _ROLES or not video.strip(" "):
                    raise UserError(f"{where}: {line!r} is not NAME 0, NAME 1 or NAME 2")
                video_id = f"{class_name}/{video.rstrip(' ')}"
                listed_videos.add(video_id, "", class_name, f"split{number}", _ROLES[role], where)
    table = listed_videos.table(number_classes=True)
    places = ([posixpath.join(folder, path) for folder in folders] for path in table["path"].tolist())
    reading = find_listed(table, disk, places)
    if len(classes) != _CLASSES[name]:  # Labels are places among the sorted names, so a class less shifts them.
        found = f"{len(classes)} class{'es' * (len(classes) != 1)}"
        reading.notes.append(f"{found}, {name} has {_CLASSES[name]}: labels differ from those of all")
    return reading


def _lists_by_class(lists: Path) -> dict[str, dict[str, Path]]:
    """Find the list files by class and number of the split, both sorted. Raises UserError where one is missing."""
    if not lists.is_dir():
        raise UserError(f"no folder {lists}")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(lists.iterdir()):
        if parts := None if path.name.startswith("._") else _LIST_NAME.fullmatch(path.name):  # Archives of a Mac.
            if problem := text_problem(path.name):
                raise UserError(f"the name of the list {path} {problem}")
            found.setdefault(parts["class_name"], {})[parts["number"]] = path
    numbers = sorted({number for by_number in found.values() for number in by_number})
    if not numbers:
        raise UserError(f"no CLASS_test_split1.txt or those of other splits in {lists}")
    for class_name, by_number in found.items():
        for number in numbers:
            if number not in by_number:
                raise UserError(f"no {class_name}_test_split{number}.txt in {lists}, but those of other classes")
    return found

"""Something-Something v2, from its own files: labels, train and validation, each as JSON."""

from collections.abc import Iterator
from pathlib import Path

from s2vc.manifests.errors import UserError, text_problem
from s2vc.manifests.json_lists import class_numbers, json_entries, read_json
from s2vc.manifests.listed_videos import ListedVideos
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed

_PREFIXES = ("something-something-v2-", "")
"""The files were first published under names with this prefix, and later without one."""

_ROLES = {"train": "train", "validation": "val"}
_FOLDERS = ("", "20bn-something-something-v2")


def read_something_something(root: Path, lists: Path) -> Reading:
    """Read Something-Something v2 under root (`ID.webm`, there or in 20bn-something-something-v2/) with split1.

    lists: the folder of something-something-v2-labels.json, -train.json and -validation.json (or labels.json, …).
    Labels and class names are those of the first: templates, without the brackets that the others have. The test
    videos, which are published without classes, are left out. Raises UserError for a missing file, an entry that does
    not parse or whose template is no class, and where no listed video is on disk.
    """
    disk = FolderFiles(root)
    labels_file = _find(lists, "labels")
    labels = class_numbers(read_json(labels_file), labels_file)
    listed = ListedVideos()
    for name, role in _ROLES.items():
        for where, entry in json_entries(_find(lists, name)):
            video, template = entry.get("id"), entry.get("template")
            if not isinstance(video, str) or not isinstance(template, str) or not video:
                raise UserError(f"{where}: not an object with the texts id and template")
            class_name = template.replace("[", "").replace("]", "")
            if class_name not in labels:
                raise UserError(f"{where}: the template {template!r} is no class of {labels_file}")
            if problem := text_problem(video):
                raise UserError(f"{where}: {video!r} {problem}")
            listed.add(f"{video}.webm", str(labels[class_name]), class_name, "split1", role, where)
    table = listed.table()
    return find_listed(table, disk, (_places(path) for path in table["path"].tolist()))


def _places(path: str) -> Iterator[str]:
    return (f"{folder}/{path}" if folder else path for folder in _FOLDERS)


def _find(lists: Path, name: str) -> Path:
    """Find a file by its earlier or its later name. Raises UserError where there is neither."""
    names = [f"{prefix}{name}.json" for prefix in _PREFIXES]
    found = next((lists / each for each in names if (lists / each).is_file()), None)
    if found is None:
        raise UserError(f"no {' or '.join(names)} in {lists}")
    return found

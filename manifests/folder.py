"""Any folder of videos, whose folders are the classes, or the splits with the classes in them."""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from s2vc.manifests.errors import UserError, printable, text_problem
from s2vc.manifests.listed_videos import ROLES
from s2vc.manifests.on_disk import Reading, is_video
from s2vc.manifests.table import build_table


@dataclass
class _FolderCounts:
    """Counts what lies under a folder besides videos."""

    links: int = 0
    others: int = 0
    unreadable: list[str] = field(default_factory=list)


def read_folder(root: Path) -> Reading:
    """Read every file with a video's ending under root, sorted; its class is the first folder on its path, if any.

    Where the first folders are all named train, val or test (training, validation, testing), they become split1 and the
    class is the folder after. Linked files count, linked folders are not entered. Names that a manifest cannot hold are
    in Reading.missing. Raises UserError where root is no folder or holds no video.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    counts = _FolderCounts()
    problems = {path: text_problem(path) for path in sorted(_videos(root, counts))}
    ids = [path for path, problem in problems.items() if not problem]
    wrong = {path: f"the name {problem}" for path, problem in problems.items() if problem}
    wrong |= {folder or ".": "the folder cannot be read" for folder in sorted(counts.unreadable)}
    notes = _notes(counts, list(wrong.values()))
    if not ids:
        raise UserError("; ".join([f"no videos under {root}", *notes]))
    missing = build_table({"video_id": [printable(name) for name in wrong]}).drop(columns="path")
    missing = missing.assign(reason=list(wrong.values())).astype("str")
    return Reading(build_table({"video_id": ids, **_classes(ids)}), missing, notes)


def _videos(root: Path, counts: _FolderCounts) -> Iterator[str]:
    """Yield the paths of the videos under root, relative to it, in no order."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                found = list(entries)
        except PermissionError:
            counts.unreadable.append(folder)
            continue
        except OSError as error:
            raise UserError(f"cannot read {root / folder}: {error.strerror}") from None
        for entry in found:
            path = posixpath.join(folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_symlink() and os.path.isdir(entry):  # DirEntry.is_dir raises for a circle.
                counts.links += 1
            elif is_video(entry.name) and (entry.is_symlink() or entry.is_file()):
                yield path
            else:
                counts.others += 1


def _classes(ids: list[str]) -> dict[str, list[str]]:
    """Give class_name of each video and, where the first folders are splits, split1."""
    folders = [path.split("/")[:-1] for path in ids]
    first = [parts[0] if parts else "" for parts in folders]
    roles = [ROLES.get(name, "") for name in first]
    if not any(first) or any(name and not role for name, role in zip(first, roles, strict=True)):
        return {"class_name": first}
    return {"class_name": [parts[1] if len(parts) > 1 else "" for parts in folders], "split1": roles}


def _notes(counts: _FolderCounts, reasons: list[str]) -> list[str]:
    lines = [
        (reasons.count("the name is not UTF-8"), "file", "left out: the name is not UTF-8"),
        (reasons.count("the name has control characters"), "file", "left out: the name has control characters"),
        (len(counts.unreadable), "folder", "left out: cannot be read"),
        (counts.links, "linked folder", "not entered"),
        (counts.others, "file", "skipped: not named as a video"),
    ]
    return [f"{number} {noun}{'' if number == 1 else 's'} {what}" for number, noun, what in lines if number]

"""Any folder of videos, whose folders are the classes, or the splits with the classes in them."""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from s2vc.manifests.errors import UserError, printable, text_problem
from s2vc.manifests.listed_videos import folder_roles
from s2vc.manifests.on_disk import Reading, is_video
from s2vc.manifests.table import build_table

LEFT_BEHIND = {"__macosx", "__pycache__", "system volume information", "lost+found", "recycler", "temporary items"}
"""Systems leave these folders behind, and those that begin with one of HIDDEN: attributes, thumbnails, what was
deleted."""

HIDDEN = (".", "@", "#", "$")


@dataclass
class _FolderCounts:
    """Counts what lies under a folder besides videos."""

    links: int = 0
    others: int = 0
    left_behind: int = 0
    unreadable: list[str] = field(default_factory=list)


def read_folder(root: Path, split_folders: str = "auto") -> Reading:
    """Read every file with a video's ending under root, sorted; its class is the first folder on its path, if any.

    split_folders: where the first folders are named as splits (train, Validation, test_256: see `folder_roles`), they
    become split1, and the class is the folder after. auto: if all are; always: those that are, the others are left out;
    never: all are classes. Linked files count, linked folders are not entered; what systems leave behind is skipped.
    Names that a manifest cannot hold are in Reading.missing. Raises UserError where root is no folder or holds no
    video.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root}")
    counts = _FolderCounts()
    problems = {path: text_problem(path) for path in sorted(_videos(root, counts))}
    ids = [path for path, problem in problems.items() if not problem]
    wrong = {path: f"the name {problem}" for path, problem in problems.items() if problem}
    wrong |= {folder or ".": "the folder cannot be read" for folder in sorted(counts.unreadable)}
    notes = _notes(counts, list(wrong.values()))
    if split_folders == "always":
        roles = _roles(ids)
        inside = [path for path in ids if roles[_first_folder(path)]]
        if left := len(ids) - len(inside):
            notes.append(f"{left} video{'' if left == 1 else 's'} left out: in no folder that is named as a split")
        ids = inside
    if not ids:
        raise UserError("; ".join([f"no videos under {root}", *notes]))
    classes, said = _classes(ids, split_folders)
    missing = build_table({"video_id": [printable(name) for name in wrong]}).drop(columns="path")
    missing = missing.assign(reason=list(wrong.values())).astype("str")
    return Reading(build_table({"video_id": ids, **classes}), missing, notes + said)


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
            if _is_left_behind(entry):
                counts.left_behind += 1
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_symlink() and os.path.isdir(entry):  # DirEntry.is_dir raises for a circle.
                counts.links += 1
            elif is_video(entry.name) and (entry.is_symlink() or entry.is_file()):
                yield path
            else:
                counts.others += 1


def _is_left_behind(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        return entry.name.startswith(".") or entry.name.casefold() == "thumbs.db"
    return entry.name.startswith(HIDDEN) or entry.name.casefold() in LEFT_BEHIND


def _classes(ids: list[str], split_folders: str) -> tuple[dict[str, list[str]], list[str]]:
    """Give class_name of each video and, where the first folders are splits, split1; and what is to be told of it."""
    first, roles = [_first_folder(path) for path in ids], _roles(ids)
    splits, others = (sorted(name for name in roles if name and bool(roles[name]) == is_split) for is_split in (1, 0))
    if split_folders == "never" or not splits:
        return {"class_name": first}, []
    if others:
        said = f"{', '.join(splits)} named as splits, {', '.join(others[:3])} not: all are taken for classes"
        return {"class_name": first}, [f"{said} (--split-folders always leaves the others out)"]
    names = [_first_folder(path.partition("/")[2]) if name else "" for path, name in zip(ids, first, strict=True)]
    said = f"{', '.join(splits)} taken for splits, without classes in them (--split-folders never: for classes)"
    return {"class_name": names, "split1": [roles[name] for name in first]}, [] if any(names) else [said]


def _roles(ids: list[str]) -> dict[str, str]:
    """Return the split that each of the first folders is named as; empty for one that is not, and for no folder."""
    return {"": ""} | folder_roles({_first_folder(path) for path in ids} - {""})


def _first_folder(path: str) -> str:
    """Return the first folder on a path; empty for a file in no folder."""
    first, inside, _ = path.partition("/")
    return first if inside else ""


def _notes(counts: _FolderCounts, reasons: list[str]) -> list[str]:
    lines = [
        (reasons.count("the name is not UTF-8"), "file{s}", "left out: the name is not UTF-8"),
        (reasons.count("the name has control characters"), "file{s}", "left out: the name has control characters"),
        (len(counts.unreadable), "folder{s}", "left out: cannot be read"),
        (counts.links, "linked folder{s}", "not entered"),
        (counts.others, "file{s}", "skipped: not named as a video"),
        (counts.left_behind, "file{s} or folder{s}", "skipped: hidden, or left behind by a system (__MACOSX, @eaDir)"),
    ]
    return [f"{number} {noun.format(s='' if number == 1 else 's')} {what}" for number, noun, what in lines if number]

"""What the readers of published list files share: videos gathered line by line, and files of class names."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import build_table
from s2vc.manifests.text import parse_whole_number, read_lines

# Published data sets spell the roles of a split so; folders are looked at in this order.
ROLE_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "validate", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}
ROLES = {spelling: role for role, spellings in ROLE_SPELLINGS.items() for spelling in spellings}

_BESIDE_A_ROLE = {"set", "split", "data", "videos", "video", "clips", "frames", "rawframes", "images"}


def folder_role(name: str) -> str:
    """Return the role that the name of a folder says: of Train, val_256, test-set and videos_train; empty for another.

    Beside a role's spelling such a name has numbers, and words that say nothing of the content.
    """
    role, others = _role_and_words(name)
    return role if not set(others) - _BESIDE_A_ROLE else ""


def folder_roles(names: Iterable[str]) -> dict[str, str]:
    """Return the role of each of the folders beside each other, by its name; empty for one that is no split.

    Whatever the names have beside their roles, such as UCF_train and UCF_test, or train_320p and val_320p, it stands in
    all of them alike, or says nothing of the content.
    """
    found = {name: _role_and_words(name) for name in names}
    roles, words = {role for role, _ in found.values()}, {tuple(others) for _, others in found.values()}
    alike = len(words) == 1 and len(roles) > 1 and "" not in roles
    return {name: role if alike else folder_role(name) for name, (role, _) in found.items()}


def _role_and_words(name: str) -> tuple[str, list[str]]:
    """Return the one role in a name, empty where there is none or more, and its other words, without numbers."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[^a-z]+", parted.casefold()) if word]
    words = [part for word in words for part in _parts_of_word(word)]
    roles = {ROLES[word] for word in words if word in ROLES}
    return (roles.pop() if len(roles) == 1 else ""), [word for word in words if word not in ROLES]


def _parts_of_word(word: str) -> list[str]:
    """Part a word such as trainset and testdata."""
    ends = (word[: -len(end)] for end in _BESIDE_A_ROLE if word.endswith(end))
    start = next((start for start in ends if start in ROLES), None)
    return [word] if start is None else [start, word[len(start) :]]


class ListedVideos:
    """Gathers videos with their class and roles from lines of any number of files, which may repeat them."""

    def __init__(self) -> None:
        self._classes: dict[str, tuple[str, str]] = {}
        self._roles: dict[str, dict[str, str]] = {}

    def add(self, video_id: str, label: str, class_name: str, split: str, role: str, where: str) -> None:
        """Record what a line says of a video; split names a column. Raises UserError where lines disagree."""
        earlier = self._classes.setdefault(video_id, (label, class_name))
        if earlier != (label, class_name):
            now, then = (" ".join(parts).strip() for parts in ((label, class_name), earlier))
            raise UserError(f"{where}: {video_id!r} has class {now} here and {then} in an earlier line")
        before = self._roles.setdefault(split, {}).setdefault(video_id, role)
        if before != role:
            raise UserError(f"{where}: {video_id!r} is {role} of {split} here and {before} in an earlier line")

    def table(self, number_classes: bool = False) -> pd.DataFrame:
        """Make one row per video, sorted by id. number_classes: labels come from the sorted class names, not the lines.

        Raises UserError where no line was added.
        """
        ids = sorted(self._classes)
        if not ids:
            raise UserError("the lists name no video")
        columns = {"video_id": ids, "class_name": [self._classes[video][1] for video in ids]}
        if not number_classes:
            columns["label"] = [self._classes[video][0] for video in ids]
        for split, roles in self._roles.items():
            columns[split] = [roles.get(video, "") for video in ids]
        return build_table(columns)


def read_class_names(path: Path) -> list[str]:
    """Read class names by label, from lines `NUMBER NAME` with numbers from 1 (as UCF101 has them), or bare names.

    Raises UserError for a file without names, numbers that are not 1 to N in any order, and a repeated name.
    """
    lines = list(read_lines(path))
    if not lines:
        raise UserError(f"{path} names no class")
    numbered = parse_whole_number(lines[0][1].split(" ")[0]) is not None
    numbers: dict[str, int] = {}
    for place, (where, line) in enumerate(lines, 1):
        first, _, rest = line.partition(" ")
        number, name = (parse_whole_number(first), rest.strip(" ")) if numbered else (place, line)
        if number is None or not 1 <= number <= len(lines) or not name:
            raise UserError(f"{where}: {line!r} is not NUMBER NAME with a number from 1 to {len(lines)}")
        if name in numbers:
            raise UserError(f"{where}: the class {name!r} is there twice")
        numbers[name] = number
    if len(set(numbers.values())) != len(numbers):
        raise UserError(f"{path}: two classes have the same number")
    return sorted(numbers, key=lambda name: numbers[name])

"""Split lists, with a line for each video: its path, the number of its class and mostly that of its frames.

The published code writes `PATH LABEL FRAMES`, mmaction2 `PATH FRAMES LABEL` for frames and `PATH LABEL` for videos.
"""

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from s2vc.manifests.class_checks import absurd_labels
from s2vc.manifests.errors import UserError
from s2vc.manifests.listed_videos import ListedVideos, read_class_names
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed
from s2vc.manifests.table import SPLIT_COLUMN, SPLIT_VALUES
from s2vc.manifests.text import read_lines

PUBLISHED, MMACTION, LABEL_ONLY = ("path", "label", "frames"), ("path", "frames", "label"), ("path", "label")
ORDERS: dict[str, tuple[str, ...]] = {",".join(columns): columns for columns in (PUBLISHED, MMACTION, LABEL_ONLY)}

COUNTED = 3
"""The frames of so many files are counted where numbers alone do not tell what they are."""


@dataclass(frozen=True)
class _Line:
    """Holds a line: where it is, `FILE, line N`; its path; and the one or two whole numbers after it."""

    where: str
    path: str
    numbers: tuple[int, ...]


def read_lists(
    root: Path,
    lists: Sequence[tuple[str, str, Path]],
    class_names_file: Path | None = None,
    columns: str | None = None,
    count_frames: Callable[[Path], int] = lambda path: 0,
) -> Reading:
    """Read videos under root from lists, each given as (split column, role, file): ("split1", "train", train.txt).

    Labels count from 0. class_names_file: names by label, see read_class_names; without it class names are empty.
    columns: a key of ORDERS; by default the order is told from the numbers of all lists together, and said in the
    notes. The number of frames is not used. count_frames: counts those of a file, which decides where the numbers alone
    do not. Raises UserError for a line that does not parse, a label without a class
    name, a video with two labels or two roles in one split, and where no listed video is on disk.
    """
    disk = FolderFiles(root)
    names = read_class_names(class_names_file) if class_names_file else None
    for split, role, _ in lists:
        if not SPLIT_COLUMN.fullmatch(split) or role not in SPLIT_VALUES:
            raise UserError(
                f"{split}:{role} is not split1, split2, ..., split_NAME and one of {', '.join(SPLIT_VALUES)}"
            )
    if columns is not None and columns not in ORDERS:
        raise UserError(f"--columns is one of {'; '.join(ORDERS)}, not {columns!r}")
    width = len(ORDERS[columns]) if columns else None
    read = []
    for split, role, path in lists:
        some: list[_Line] = []
        for where, text in read_lines(path):
            some.append(_parse(text, where, width))
            width = width or len(some[0].numbers) + 1  # All lines have as many columns as the first.
        read.append((split, role, some))
    lines = [line for _, _, some in read for line in some]
    if columns:
        order, note = ORDERS[columns], ""
    else:
        some_frames = cache(lambda: _some_frames(lines, disk, count_frames))
        order, note = _tell_order(lines, len(names) if names else None, some_frames)
    listed_videos = ListedVideos()
    for split, role, some in read:
        for line in some:
            label = line.numbers[order.index("label") - 1]
            if names and label >= len(names):
                raise UserError(f"{line.where}: label {label}, but {class_names_file} names {len(names)} classes")
            listed_videos.add(line.path, str(label), names[label] if names else "", split, role, line.where)
    reading = find_listed(listed_videos.table(), disk)
    notes = [note] if note else []
    if names and min(line.numbers[order.index("label") - 1] for line in lines) > 0:
        notes.append(f"no line has label 0, which is {names[0]}: labels count from 0")
    return Reading(reading.table, reading.missing, [*notes, *reading.notes])


_NUMBER = "([0-9]{1,9})"
_PATTERNS = {
    None: re.compile(f"(.+?) +{_NUMBER}(?: +{_NUMBER})?"),
    2: re.compile(f"(.+) +{_NUMBER}"),
    3: re.compile(f"(.+) +{_NUMBER} +{_NUMBER}"),
}
"""Lines by their number of columns; None: as many as end in numbers. Paths may hold spaces."""


def _parse(line: str, where: str, width: int | None) -> _Line:
    found = _PATTERNS[width].fullmatch(line)
    if found is None or not found[1].strip(" "):
        wanted = "PATH LABEL" if width == 2 else "PATH LABEL FRAMES"
        raise UserError(f"{where}: {line!r} is not {wanted}, nor in another order of --columns")
    return _Line(where, found[1].rstrip(" "), tuple(int(number) for number in found.groups()[1:] if number))


def _tell_order(
    lines: Sequence[_Line], classes: int | None, some_frames: Callable[[], dict[int, int]]
) -> tuple[tuple[str, ...], str]:
    """Tell the order of the columns from their numbers, and say what was taken.

    A column of labels does not reach the number of names; would not be absurd (class_checks); is not constant; has one
    value in each folder, where the folders are the classes; has few values, from 0, without large gaps; and is not the
    number of frames of the files. The first of these that holds for one column alone decides. classes: how many have
    names. some_frames: counts the frames of some lines' files, by the place of the line.
    """
    if not lines:
        return PUBLISHED, ""
    if len(lines[0].numbers) == 1:
        return LABEL_ONLY, ""
    tests: tuple[Callable[[Sequence[int]], bool], ...] = (
        lambda values: classes is not None and max(values) < classes,
        lambda values: not absurd_labels(set(values)),
        lambda values: len(set(values)) > 1,
        lambda values: _is_one_in_each_folder(lines, values),
        lambda values: max(values) < 2 * len(set(values)) <= len(values),
        lambda values: any(values[place] != frames for place, frames in some_frames().items()),
    )
    columns = [[line.numbers[place] for line in lines] for place in (0, 1)]
    for test in tests:
        first, second = (test(values) for values in columns)
        if first != second:
            order = PUBLISHED if first else MMACTION
            return order, _said(order, columns, "")
    return PUBLISHED, _said(PUBLISHED, columns, ", which could be otherwise")


def _some_frames(lines: Sequence[_Line], disk: FolderFiles, count_frames: Callable[[Path], int]) -> dict[int, int]:
    """Count the frames of the first few files that are there, by the place of their lines."""
    found = ((place, disk.find(line.path)) for place, line in enumerate(lines))
    there = islice(((place, path) for place, path in found if path), COUNTED)
    counts = {place: count_frames(disk.root / path) for place, path in there}
    return {place: frames for place, frames in counts.items() if frames}


def _is_one_in_each_folder(lines: Sequence[_Line], values: Sequence[int]) -> bool:
    pairs = {(posixpath.dirname(line.path), value) for line, value in zip(lines, values, strict=True)}
    folders = {folder for folder, _ in pairs}
    return len(folders) > 1 and len(pairs) == len(folders) < len(lines)


def _said(order: tuple[str, ...], columns: Sequence[Sequence[int]], doubt: str) -> str:
    ranges = {name: f"{name} from {min(v)} to {max(v)}" for name, v in zip(order[1:], columns, strict=True)}
    other = ",".join(MMACTION if order == PUBLISHED else PUBLISHED)
    taken = f"columns taken as {', '.join(order)} ({ranges['label']}, {ranges['frames']}){doubt}"
    return f"{taken}; --columns {other} for the other order"

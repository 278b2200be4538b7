"""Split lists in the format of the published code: lines `PATH LABEL FRAMES`, labels from 0."""

from collections.abc import Sequence
from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.manifests.listed_videos import ListedVideos, read_class_names
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed
from s2vc.manifests.table import SPLIT_COLUMN, SPLIT_VALUES
from s2vc.manifests.text import parse_whole_number, read_lines


def read_lists(root: Path, lists: Sequence[tuple[str, str, Path]], class_names_file: Path | None = None) -> Reading:
    """Read videos under root from lists, each given as (split column, role, file): ("split1", "train", train.txt).

    class_names_file: names by label, see read_class_names; without it class names are empty. The number of frames in
    the lists is not used. Raises UserError for a line that does not parse, a label without a class name, a video with
    two labels or two roles in one split, and where no listed video is on disk.
    """
    disk = FolderFiles(root)
    names = read_class_names(class_names_file) if class_names_file else None
    listed_videos = ListedVideos()
    for split, role, path in lists:
        if not SPLIT_COLUMN.fullmatch(split) or role not in SPLIT_VALUES:
            raise UserError(
                f"{split}:{role} is not split1, split2, ..., split_NAME and one of {', '.join(SPLIT_VALUES)}"
            )
        for where, line in read_lines(path):
            video_id, label = _parse(line, where)
            if names and label >= len(names):
                raise UserError(f"{where}: label {label}, but {class_names_file} names {len(names)} classes")
            listed_videos.add(video_id, str(label), names[label] if names else "", split, role, where)
    return find_listed(listed_videos.table(), disk)


def _parse(line: str, where: str) -> tuple[str, int]:
    """Parse path and label, from the right, since paths may hold spaces."""
    path, label, frames = ["", "", *line.rsplit(" ", 2)][-3:]
    number = parse_whole_number(label)
    if number is None or parse_whole_number(frames) is None or not path.strip(" "):
        raise UserError(f"{where}: {line!r} is not PATH LABEL FRAMES")
    return path.rstrip(" "), number

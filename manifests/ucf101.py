"""UCF101, from its own lists (the folder `ucfTrainTestlist`), with all the splits that are there side by side."""

from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.manifests.listed_videos import ListedVideos, read_class_names
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed
from s2vc.manifests.text import parse_whole_number, read_lines


def read_ucf101(root: Path, lists: Path) -> Reading:
    """Read UCF101 under root (`Class/v_x.avi`) with split1 to split3, as far as the folder lists has them.

    Labels are the numbers of classInd.txt minus 1. Raises UserError for a missing list, a line that does not parse, a
    class that classInd.txt lacks or numbers otherwise, and where no listed video is on disk.
    """
    disk = FolderFiles(root)
    labels = {name: label for label, name in enumerate(read_class_names(lists / "classInd.txt"))}
    listed_videos = ListedVideos()
    for number in _splits(lists):
        for role in ("train", "test"):
            for where, line in read_lines(lists / f"{role}list0{number}.txt"):
                video_id, class_name = _parse(line, labels, where)
                listed_videos.add(video_id, str(labels[class_name]), class_name, f"split{number}", role, where)
    return find_listed(listed_videos.table(), disk)


def _splits(lists: Path) -> list[int]:
    """Find the splits of which a list is there: of half a split, reading the other half will complain."""
    names = ("trainlist0{}.txt", "testlist0{}.txt")
    there = [number for number in (1, 2, 3) if any((lists / name.format(number)).exists() for name in names)]
    if not there:
        raise UserError(f"no trainlist01.txt, testlist01.txt or those of other splits in {lists}")
    return there


def _parse(line: str, labels: dict[str, int], where: str) -> tuple[str, str]:
    """Parse video id and class of `Class/v_x.avi 1`; the number is only in the training lists."""
    path, _, number = line.partition(" ")
    class_name, slash, name = path.partition("/")
    if not (slash and name) or (number and parse_whole_number(number) is None):
        raise UserError(f"{where}: {line!r} is not CLASS/NAME or CLASS/NAME NUMBER")
    if class_name not in labels:
        raise UserError(f"{where}: no class {class_name!r} in classInd.txt")
    if number and int(number) != labels[class_name] + 1:
        raise UserError(f"{where}: class {number}, but {class_name} has number {labels[class_name] + 1}")
    return path, class_name

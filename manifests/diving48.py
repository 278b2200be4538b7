"""Diving48, from its own files (version 2): its vocabulary, train and test, each as JSON."""

from collections.abc import Iterator
from pathlib import Path

from s2vc.manifests.errors import UserError, text_problem
from s2vc.manifests.json_lists import json_entries, read_json
from s2vc.manifests.listed_videos import ListedVideos
from s2vc.manifests.on_disk import FolderFiles, Reading, find_listed

_ROLES = {"Diving48_V2_train.json": "train", "Diving48_V2_test.json": "test"}
_VOCABULARY = "Diving48_vocab.json"
_FOLDERS = ("", "rgb", "videos")


def read_diving48(root: Path, lists: Path) -> Reading:
    """Read Diving48 under root (`NAME.mp4`, there, in rgb/ or in videos/) with split1.

    lists: the folder of Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json. A label is a place in
    the vocabulary, and its class name the words there: take-off, somersaults, twists, flight position. Raises UserError
    for a missing file, an entry that does not parse, and where no listed video is on disk.
    """
    disk = FolderFiles(root)
    names = _class_names(lists / _VOCABULARY)
    listed = ListedVideos()
    for file, role in _ROLES.items():
        for where, entry in json_entries(lists / file):
            video, label = entry.get("vid_name"), entry.get("label")
            if not isinstance(video, str) or not video or not isinstance(label, int) or isinstance(label, bool):
                raise UserError(f"{where}: not an object with the text vid_name and the whole number label")
            if not 0 <= label < len(names):
                raise UserError(f"{where}: label {label}, but {_VOCABULARY} has the classes 0 to {len(names) - 1}")
            if problem := text_problem(video):
                raise UserError(f"{where}: {video!r} {problem}")
            listed.add(f"{video}.mp4", str(label), names[label], "split1", role, where)
    table = listed.table()
    return find_listed(table, disk, (_places(path) for path in table["path"].tolist()))


def _places(path: str) -> Iterator[str]:
    return (f"{folder}/{path}" if folder else path for folder in _FOLDERS)


def _class_names(path: Path) -> list[str]:
    """Join the words of each class of the vocabulary. Raises UserError where it is no list of distinct lists of
    texts."""
    vocabulary = read_json(path)
    if not isinstance(vocabulary, list) or not vocabulary:
        raise UserError(f"{path}: holds no list of classes")
    names = []
    for number, words in enumerate(vocabulary):
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise UserError(f"{path}: class {number} is no list of words, such as Back, 15som, 05Twis, FREE")
        if problem := text_problem(" ".join(words)):
            raise UserError(f"{path}: class {number} {problem}")
        names.append(" ".join(words))
    if len(set(names)) != len(names):
        raise UserError(f"{path}: two classes have the same words")
    return names

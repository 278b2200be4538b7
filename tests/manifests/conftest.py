"""A place for videos and lists: readers never open a video, so empty files with the right names do."""

from collections.abc import Iterable
from pathlib import Path

import pytest


class Place:
    """Folders videos/ and lists/ to put files in."""

    def __init__(self, folder: Path) -> None:
        self.videos, self.lists = folder / "videos", folder / "lists"
        self.videos.mkdir()
        self.lists.mkdir()

    def put(self, *paths: str) -> None:
        for path in paths:
            (self.videos / path).parent.mkdir(parents=True, exist_ok=True)
            (self.videos / path).touch()

    def write(self, name: str, lines: Iterable[str], end: str = "\n") -> Path:
        path = self.lists / name
        path.write_bytes("".join(line + end for line in lines).encode())
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def published_lists() -> Path:
    """The published code's lists, which lie beside the repository where people work on it."""
    lists = Path(__file__).parents[3] / "shared" / "reference" / "lists"
    if not lists.is_dir():
        pytest.skip(f"the published lists are not at {lists}")
    return lists

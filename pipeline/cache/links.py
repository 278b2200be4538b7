"""Links that lead out of a cache are refused: through them a job would write, and remove, somebody else's files."""

import os
from collections.abc import Iterator
from pathlib import Path

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import Layout

FOLDERS = (".", "motion", "receipts", "receipts/motion", "latents.zarr")
"""These folders hold the folders that jobs write into."""


def refuse_links(layout: Layout) -> None:
    """Raise UserError if a folder that a job writes into is a link that leads out of the cache."""
    for folder in FOLDERS:
        for path in _outward(layout.root / folder, layout.root.resolve()):
            if path.is_dir():
                raise UserError(f"{path} is a link that leads out of the cache: nothing is written there; remove it")


def links_out_of(root: Path) -> Iterator[Path]:
    """Yield every link in a cache, to a file or a folder, that leads out of it; no link is followed."""
    waiting, base = [root], root.resolve()
    while waiting:
        folder = waiting.pop()
        yield from _outward(folder, base)
        waiting += [Path(e.path) for e in _entries(folder) if e.is_dir(follow_symlinks=False)]


def _outward(folder: Path, base: Path) -> Iterator[Path]:
    for entry in _entries(folder):
        # Path.resolve() is not used, since it raises for a link that goes in circles.
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(base):
            yield Path(entry.path)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """Return what lies in a folder, by name; nothing if there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []

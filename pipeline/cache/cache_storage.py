"""A storage is where the files of a cache are kept: a folder of this machine, or an object store (remote_storage)."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import IO, Any

from s2vc.pipeline.cache.layout import Layout, motion_stage
from s2vc.pipeline.cache.receipts import Receipt, read_receipt
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.object_store import RemoteGroup
from s2vc.pipeline.variants import Variant


class CacheStorage(ABC):
    """A storage brings files of a cache to this machine, and puts what is written here into the cache.

    layout: the paths of the files on this machine, by which the methods know them. The text of a storage is the
    location as a user writes it. A storage may be sent to other processes.
    """

    def __init__(self, root: Path):
        self.layout = Layout(root)

    @property
    def location(self) -> str:
        """A program that runs elsewhere finds the cache at this location."""
        return str(self)

    def shared_paths(self) -> tuple[Path, ...]:
        """Return the paths that exist on every machine that can work on the cache."""
        return ()

    def local_settings(self) -> dict[str, str]:
        """Return the settings that another process needs, with the location, to keep its copies where this one does."""
        return {}

    @abstractmethod
    def fetch(self, path: Path) -> Path:
        """Fetch a file of the layout that is no latents', and return where it can be read.

        It is as it was when this storage was first asked for it; nothing is there if the cache has no such file.
        """

    @abstractmethod
    def fetch_receipts(self, *stages: str) -> None:
        """Fetch all receipts of some stages, as they are now, by one listing of each stage."""

    def fetch_receipt(self, stage: str, shard: int) -> Receipt | None:
        """Fetch the receipt of a shard, and return it, or None if the shard is not done."""
        self.fetch(self.layout.receipt(stage, shard))
        return read_receipt(self.layout, stage, shard)

    @abstractmethod
    def latent_group(self, shard: int) -> Path | RemoteGroup:
        """Return where the latents of a shard are read from; they are not fetched."""

    @abstractmethod
    def open_motion(self, variant: Variant, shard: int) -> IO[bytes]:
        """Open a rendered shard of which little will be read. Raises FileNotFoundError if there is none."""

    @abstractmethod
    def publish(self, path: Path) -> None:
        """Put a file that was written at its path, and is no shard's, into the cache for all who read it."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies in a folder of the cache, sorted; none if there is no such folder."""

    @abstractmethod
    def variant_names(self) -> list[str]:
        """Return the names of the folders of variants, rendered or begun, sorted."""

    def finished(self, stage: str) -> set[int]:
        """Return the shards that have a receipt of a stage, by one listing."""
        receipts = (Path(name) for name in self.names(f"receipts/{stage}"))
        return {int(path.stem) for path in receipts if path.suffix == ".json" and path.stem.isdecimal()}

    @abstractmethod
    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the bytes of each part: of files and folders at the top, and of each motion/VARIANT.

        below: the only folder that has to be looked into; all by default.
        """

    @abstractmethod
    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, from the cache."""

    def remove_variant(self, variant: Variant) -> None:
        """Remove all of a rendered variant, receipts first, so that a part of it is never taken for all of it."""
        self.remove(self.layout.root / "receipts" / motion_stage(variant))
        self.remove(self.layout.variant_folder(variant))


class LocalStorage(CacheStorage):
    """This is a cache in a folder of this machine: its files are where they are read and written."""

    def __str__(self) -> str:
        return str(self.layout.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalStorage, (self.layout.root.absolute(),)  # other processes may have another working directory

    @property
    def location(self) -> str:
        return str(self.layout.root.absolute())

    def shared_paths(self) -> tuple[Path, ...]:
        return (self.layout.settings.absolute(),)

    def fetch(self, path: Path) -> Path:
        return path

    def fetch_receipts(self, *stages: str) -> None:
        pass

    def latent_group(self, shard: int) -> Path:
        return self.layout.latents(shard)

    def open_motion(self, variant: Variant, shard: int) -> IO[bytes]:
        return self.layout.motion(variant, shard).open("rb")

    def publish(self, path: Path) -> None:
        pass

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(os.listdir(self.layout.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def variant_names(self) -> list[str]:
        return sorted(path.parent.name for path in self.layout.root.glob("motion/*/variant.json"))

    def sizes(self, below: str = "") -> dict[str, int]:
        found: Counter[str] = Counter()
        root, waiting = str(self.layout.root), [below]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(f"{root}/{folder}") as listed:
                    entries = list(listed)
            except OSError:  # it is gone, or may not be read
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif not entry.is_dir():  # a link to a folder is no part of the cache
                    found[part_of(name)] += entry.stat(follow_symlinks=False).st_size
        return dict(found)

    def remove(self, path: Path) -> None:
        files.remove(path)


def part_of(name: str) -> str:
    """Return the part of a cache that a file belongs to, both by their names below the root."""
    parts = name.split("/")
    return "/".join(parts[: 2 if parts[0] == "motion" else 1])

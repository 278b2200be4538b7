"""Where things lie in a cache, and what is there."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.object_store import RemoteGroup
from s2vc.pipeline.variants import Variant

INGEST = "ingest"
ENCODE = "encode"


def motion_stage(variant: Variant) -> str:
    """The stage that renders a variant; receipts lie under receipts/STAGE/."""
    return f"motion/{variant.name}"


@dataclass(frozen=True)
class Layout:
    """Paths below the root of a cache; shards are numbered from 0.

    A cache in an object store is a RemoteLayout: its paths are of copies on this machine.
    """

    root: Path

    def __str__(self) -> str:
        """Where it is, as a user calls it."""
        return str(self.root)

    @property
    def location(self) -> str:
        """The same, for a program that runs elsewhere."""
        return str(self.root.absolute())

    def shared_paths(self) -> tuple[Path, ...]:
        """What a machine sees that can work on the cache."""
        return (self.settings,)

    def local_settings(self) -> dict[str, str]:
        """What another process is told beside the location, so that it keeps its copies where this one does."""
        return {}

    def absolute(self) -> "Layout":
        """The same cache for processes elsewhere, whose working directories are others."""
        return replace(self, root=self.root.absolute())

    @property
    def settings(self) -> Path:
        return self.root / "cache.json"

    @property
    def index(self) -> Path:
        return self.root / "index.csv"

    @property
    def flow(self) -> Path:
        return self.root / "flow.safetensors"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def all_latents(self) -> Path:
        return self.root / "latents.zarr"

    def frames(self, shard: int) -> Path:
        return self.root / "frames" / f"{shard:05d}.h5"

    def small(self, shard: int) -> Path:
        return self.root / "small" / f"{shard:05d}.h5"

    def latents(self, shard: int) -> Path:
        return self.all_latents / f"{shard:05d}"

    def motion(self, variant: Variant, shard: int) -> Path:
        return self.variant_folder(variant) / f"{shard:05d}.h5"

    def variant_folder(self, variant: Variant) -> Path:
        return self.root / "motion" / variant.name

    def variant_settings(self, variant: Variant) -> Path:
        return self.variant_folder(variant) / "variant.json"

    def receipt(self, stage: str, shard: int) -> Path:
        return self.root / "receipts" / stage / f"{shard:05d}.json"

    def latent_group(self, shard: int) -> Path | RemoteGroup:
        """The latents of a shard for reading."""
        return self.latents(shard)

    def open_motion(self, variant: Variant, shard: int) -> IO[bytes]:
        """A rendered shard of which little is to be read. Raises FileNotFoundError."""
        return self.motion(variant, shard).open("rb")

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder of the cache, sorted; nothing where there is no such folder."""
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def variant_names(self) -> list[str]:
        """Folders of variants, rendered or begun, in the order of names."""
        return sorted(path.parent.name for path in self.root.glob("motion/*/variant.json"))

    def finished(self, stage: str) -> set[int]:
        """Shards that have a receipt of a stage, by one listing."""
        return {int(path.stem) for path in self.receipt(stage, 0).parent.glob("*.json") if path.stem.isdecimal()}

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of each part: files and folders at the top, and each motion/VARIANT. below: look into this one only."""
        found: Counter[str] = Counter()
        for place, _, names in os.walk(self.root / below):
            for name in names:
                path = os.path.join(place, name)
                found[part_of(os.path.relpath(path, self.root))] += os.lstat(path).st_size
        return dict(found)

    def publish(self, path: Path) -> None:
        """A file that is not of a shard was written, and is now for all who read the cache."""

    def withdraw(self, path: Path) -> None:
        """A file, or all below a folder, is no longer part of the cache."""
        files.remove(path)

    def remove_variant(self, variant: Variant) -> None:
        """All of a rendered variant, receipts first, so that no half of it ever passes for the whole."""
        files.remove(self.root / "receipts" / motion_stage(variant))
        files.remove(self.variant_folder(variant))

    def expect_many(self) -> None:
        """From here on all receipts of a stage are asked for, one after another."""

    def refresh(self) -> None:
        """Others have written into the cache: what is known of it is to be looked at anew."""


def part_of(name: str) -> str:
    """The part of a cache that a file belongs to, both by their names below the root."""
    parts = name.split("/")
    return "/".join(parts[: 2 if parts[0] == "motion" else 1])

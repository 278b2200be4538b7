"""A layout says where the files of a cache lie, and which of them are there."""

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
    """Return the stage that renders a variant; its receipts lie under receipts/STAGE/."""
    return f"motion/{variant.name}"


@dataclass(frozen=True)
class Layout:
    """A layout gives the paths below the root of a cache; shards are numbered from 0.

    A cache in an object store is a RemoteLayout: its paths are those of copies on this machine.
    """

    root: Path

    def __str__(self) -> str:
        """Return the location as a user writes it."""
        return str(self.root)

    @property
    def location(self) -> str:
        """A program that runs elsewhere finds the cache at this location."""
        return str(self.root.absolute())

    def shared_paths(self) -> tuple[Path, ...]:
        """Return the paths that exist on every machine that can work on the cache."""
        return (self.settings,)

    def local_settings(self) -> dict[str, str]:
        """Return the settings that another process needs, with the location, to keep its copies where this one does."""
        return {}

    def absolute(self) -> "Layout":
        """Return the same cache for processes elsewhere, which have other working directories."""
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
        """Return where the latents of a shard are read from."""
        return self.latents(shard)

    def open_motion(self, variant: Variant, shard: int) -> IO[bytes]:
        """Open a rendered shard of which little will be read. Raises FileNotFoundError if there is none."""
        return self.motion(variant, shard).open("rb")

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies in a folder of the cache, sorted; none if there is no such folder."""
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def variant_names(self) -> list[str]:
        """Return the names of the folders of variants, rendered or begun, sorted."""
        return sorted(path.parent.name for path in self.root.glob("motion/*/variant.json"))

    def finished(self, stage: str) -> set[int]:
        """Return the shards that have a receipt of a stage, by one listing."""
        return {int(path.stem) for path in self.receipt(stage, 0).parent.glob("*.json") if path.stem.isdecimal()}

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the bytes of each part: of files and folders at the top, and of each motion/VARIANT.

        below: the only folder to look into; all by default.
        """
        found: Counter[str] = Counter()
        for place, _, names in os.walk(self.root / below):
            for name in names:
                path = os.path.join(place, name)
                found[part_of(os.path.relpath(path, self.root))] += os.lstat(path).st_size
        return dict(found)

    def publish(self, path: Path) -> None:
        """Make a file that was written, and belongs to no shard, available to all who read the cache."""

    def withdraw(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, from the cache."""
        files.remove(path)

    def remove_variant(self, variant: Variant) -> None:
        """Remove all of a rendered variant, receipts first, so that a part of it is never taken for all of it."""
        files.remove(self.root / "receipts" / motion_stage(variant))
        files.remove(self.variant_folder(variant))

    def expect_many(self) -> None:
        """Prepare for calls that ask for all receipts of a stage, one after another."""

    def refresh(self) -> None:
        """Forget what is known of the cache, since others have written into it."""


def part_of(name: str) -> str:
    """Return the part of a cache that a file belongs to, both by their names below the root."""
    parts = name.split("/")
    return "/".join(parts[: 2 if parts[0] == "motion" else 1])

"""A layout says where the files of a cache lie: names alone, nothing is looked up or fetched."""

from dataclasses import dataclass
from pathlib import Path

from s2vc.pipeline.storage.held import LOCK
from s2vc.pipeline.variants import Variant

INGEST = "ingest"
ENCODE = "encode"


def motion_stage(variant: Variant) -> str:
    """Return the stage that renders a variant; its receipts lie under receipts/STAGE/."""
    return f"motion/{variant.name}"


@dataclass(frozen=True)
class Layout:
    """A layout gives the paths below a folder of this machine, the root; shards are numbered from 0."""

    root: Path

    def key(self, path: Path) -> str:
        """Return the name of a path below the root, with slashes."""
        return path.relative_to(self.root).as_posix()

    def made_by(self, path: Path) -> tuple[str, int] | None:
        """Return the stage and the shard that an HDF5 file is of, by its name; None for any other file."""
        if path.suffix != ".h5":
            return None
        folder = self.key(path.parent)
        return INGEST if folder in ("frames", "small") else folder, int(path.stem)

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
        return self.root / LOCK

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

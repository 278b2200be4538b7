"""Where things lie in a cache."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.variants import Variant

INGEST = "ingest"
ENCODE = "encode"


def motion_stage(variant: Variant) -> str:
    """The stage that renders a variant; receipts lie under receipts/STAGE/."""
    return f"motion/{variant.name}"


@dataclass(frozen=True)
class Layout:
    """Paths below the root of a cache; shards are numbered from 0."""

    root: Path

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

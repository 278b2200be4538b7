"""Check a cache in an object store: each shard is downloaded as it is stored, and checked like one on disk."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from s2vc.pipeline.cache.copies import scratch
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout, motion_stage
from s2vc.pipeline.cache.receipts import read_receipt
from s2vc.pipeline.cache.remote_storage import RemoteStorage
from s2vc.pipeline.storage.lease import FOLDER as JOBS
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.verify.check_shard import CheckedShard, ShardCheck, check_shard
from s2vc.pipeline.verify.foreign import foreign
from s2vc.pipeline.verify.problem import Checks

TOP = ("cache.json", "index.csv", "flow.safetensors", "log.txt")


@dataclass
class RemoteShards:
    """Downloads the shards of a cache in an object store and checks them.

    there: all keys of the store. own: those that the cache accounts for; it grows as shards are downloaded.
    """

    storage: RemoteStorage
    variants: Sequence[Variant]
    there: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.there = set(self.storage.store.listing(""))
        self.own = {*TOP, *(f"motion/{v.name}/variant.json" for v in self.variants)}

    def check(self, check: ShardCheck) -> CheckedShard:
        """Run the check of a shard on its files, which are downloaded to a temporary folder for it.

        Nothing is taken from the local cache, whose copies could hide what is wrong in the store.
        """
        with scratch(self.storage.local / "scratch") as folder:
            here = Layout(folder)
            for stage in (INGEST, ENCODE, *map(motion_stage, self.variants)):
                self._bring(here, stage, check.shard)
            return check_shard(self.variants, replace(check, layout=here))

    def _bring(self, here: Layout, stage: str, shard: int) -> None:
        """Download a stage's receipt and the files it names into `here`, and count their keys as the cache's own."""
        path = here.receipt(stage, shard)
        key = here.key(path)
        self.own.add(key)
        content = self.storage.store.read(key) if key in self.there else None
        if content is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        receipt = read_receipt(here, stage, shard)
        if receipt is None:
            return
        for name in receipt.files:
            key = f"{receipt.prefix}/{name}"
            self.own.add(key)
            if key in self.there:
                (here.root / name).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    self.storage.store.download(key, here.root / name)

    def foreign(self) -> Checks[None]:
        """Yield a problem for each object that no receipt accounts for; call it after all shards were downloaded."""
        for key in sorted(self.there - self.own):
            if not key.startswith(f"{JOBS}/"):
                yield foreign(key)

"""Training over a cache in an object store: the run that it is over the cache on disk, from a small local cache."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import s3fs
import torch
from click.testing import Result

from s2vc.pipeline.cache import Cache
from s2vc.training.clips import PairClips
from s2vc.training.loader import EpochBatches, Loader
from s2vc.training.run_folder import read_metrics
from s2vc.training.settings import merge_settings, read_settings_file
from tests.support.object_store import BUCKET, requests

Prep = Callable[..., Result]
VARIANT = "alpha0.5-zero-video"
URL = f"s3://{BUCKET}/pairs"


@pytest.fixture(scope="module")
def both(s3: s3fs.S3FileSystem, cli: Prep, videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same cache on disk and in the store, a shard for every video."""
    folder = tmp_path_factory.mktemp("both")
    for out in (folder / "disk", URL):
        encoded = cli(
            "encode", videos / "manifest.csv", "--out", out, "--size", "40x48", "--shard-size", 1,
            "--local-cache", folder / "copies",
        )  # fmt: skip
        assert encoded.exit_code == 3, encoded.output
        rendered = cli("render", out, "--alpha", 0.5, "--local-cache", folder / "copies")
        assert rendered.exit_code == 0, rendered.output
    return folder / "disk", URL


@pytest.mark.parametrize("workers", [0, 2])
def test_pairs_are_those_of_the_cache_on_disk(both: tuple[Path, str], workers: int, tmp_path: Path) -> None:
    """Read by processes that share a local cache of a few shards."""
    disk, url = both
    here = PairClips(disk, [VARIANT], 8, split="all", seed=3)
    limit = 2 * max(p.stat().st_size for p in disk.rglob("*.h5"))
    there = PairClips(Cache(url, tmp_path / "copies", str(limit)), [VARIANT], 8, split="all", seed=3)
    read = []
    for pairs in (here, there):
        loader = Loader(pairs, EpochBatches(pairs.shards, 2, seed=1, shards_at_hand=2), torch.device("cpu"), workers)
        read.append([batch for epoch in range(2) for batch in loader.epoch(epoch)])
    assert len(read[0]) == len(read[1]) == 4
    for a, b in zip(*read, strict=True):
        assert torch.equal(a[0], b[0])
        assert all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))


def test_an_epoch_fetches_each_shard_once(both: tuple[Path, str], tmp_path: Path) -> None:
    """Frames and corrections, and nothing else, of the videos that are read; another epoch from copies, nothing."""
    pairs = PairClips(Cache(both[1], tmp_path, "1GB"), [VARIANT], 8, split="all")
    loader = Loader(pairs, EpochBatches(pairs.shards, 1, seed=1, shards_at_hand=2), torch.device("cpu"), workers=2)
    with requests() as asked:
        assert len(list(loader.epoch(0))) == 5
        first = dict(asked)
        asked.clear()
        assert len(list(loader.epoch(1))) == 5
    parts = ("frames", f"motion/{VARIANT}")
    assert first == {f"GET {part}/{shard:05d}.h5": 1 for shard in pairs.shards for part in parts}
    assert not asked


@pytest.mark.slow
def test_a_run_is_that_over_the_cache_on_disk(both: tuple[Path, str], train_cli: Prep, tmp_path: Path) -> None:
    losses = []
    for number, place in enumerate(both):
        result = train_cli(
            place, "--alpha", 0.5, "--size", 32, "--clip-length", 8, "--batch", 2, "--epochs", 2, "--split", "all",
            "--loader-workers", 1, "--shards-at-hand", 2, "--local-cache", tmp_path / "copies",
            "--local-cache-size", "1GB", "--out", tmp_path / str(number),
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        losses.append([record.loss for record in read_metrics(tmp_path / str(number) / "metrics.csv")])
    assert losses[0] == losses[1] and len(losses[0]) == 4
    settings = merge_settings(read_settings_file(tmp_path / "1" / "settings.yaml"))
    assert (settings.cache, settings.local_cache) == (both[1], str(tmp_path / "copies"))


def test_a_run_may_go_on_with_another_local_cache(both: tuple[Path, str], train_cli: Prep, tmp_path: Path) -> None:
    """It says nothing about what is learned."""
    out = tmp_path / "run"
    common = [both[1], "--method", "moco", "--size", 32, "--clip-length", 8, "--batch", 2, "--epochs", 1]
    common += ["--split", "all", "--loader-workers", 0, "--out", out]
    assert train_cli(*common, "--local-cache", tmp_path / "a").exit_code == 0
    again = train_cli(*common, "--local-cache", tmp_path / "b", "--local-cache-size", "2GB")
    assert again.exit_code == 0, again.output
    refused = train_cli(*common, "--shards-at-hand", 3)
    assert refused.exit_code == 2 and "shards_at_hand" in refused.output


def test_without_a_local_cache_size_that_is_one_it_is_refused(both: tuple[Path, str], train_cli: Prep) -> None:
    result = train_cli(both[1], "--alpha", 0.5, "--local-cache-size", "much")
    assert result.exit_code == 2 and "'much' is no size" in result.output


def test_a_checkpoint_is_evaluated_on_a_cache_at_a_url(both: tuple[Path, str], tmp_path: Path) -> None:
    """By the same numbers as on the cache on disk."""
    from click.testing import CliRunner

    from s2vc.eval.cli import main

    numbers = []
    for number, place in enumerate(both):
        arguments = [
            "order", place, "random", "--backbone", "r3d18", "--size", 32, "--frames", 8, "--epochs", 1,
            "--out", tmp_path / str(number), "--local-cache", tmp_path / "copies",
        ]  # fmt: skip
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        numbers.append(result.output.splitlines()[-1].replace(str(tmp_path / str(number)), ""))
    assert numbers[0] == numbers[1]
    assert np.any([part.is_dir() for part in (tmp_path / "copies").iterdir()])

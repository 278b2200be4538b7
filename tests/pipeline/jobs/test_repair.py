"""`s2vc-prep verify --repair` makes what is damaged anew, byte for byte, and touches nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from tests.conftest import VARIANTS
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree

FRAMES, SMALL = "frames/00001.h5", "small/00000.h5"
LATENTS = "latents.zarr/00001/z/c/0/0"
MOTION = f"motion/{VARIANTS[1]}/00000.h5"


@pytest.fixture
def cache(cache_path: Path, tmp_path: Path) -> Path:
    """A copy of the session's cache, to be damaged."""
    return Path(shutil.copytree(cache_path, tmp_path / "cache"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def times(cache: Path) -> dict[str, int]:
    """When each file below the stages' folders was written."""
    folders = ("frames", "small", "latents.zarr", "motion")
    found = [p for f in folders for p in (cache / f).rglob("*") if p.is_file()]
    return {p.relative_to(cache).as_posix(): p.stat().st_mtime_ns for p in found}


@pytest.mark.parametrize(
    ("names", "stages", "rewritten"),
    [
        ([LATENTS], "encode of shard 00001", "latents.zarr/00001/"),
        ([MOTION], f"motion/{VARIANTS[1]} of shard 00000", MOTION),
        ([LATENTS, MOTION], "encode of shard 00001", ("latents.zarr/00001/", MOTION)),
    ],
)
def test_a_damaged_shard_is_made_anew_and_no_other(
    cli: Callable[..., Result],
    cache: Path,
    cache_path: Path,
    names: list[str],
    stages: str,
    rewritten: str | tuple[str, ...],
) -> None:
    for name in names:
        flip(cache / name)
    before = times(cache)
    done = cli("verify", cache, "--repair")
    assert done.exit_code == 0, done.output
    assert f"{len(names)} problem" in done.output and stages in done.output and "All is well" in done.output
    assert tree(cache) == tree(cache_path)
    after = times(cache)
    assert {n for n in after if after[n] != before[n]} == {n for n in after if n.startswith(rewritten)}


def test_frames_are_made_anew_from_the_videos(
    cli: Callable[..., Result], cache: Path, cache_path: Path, videos: Path
) -> None:
    flip(cache / FRAMES)
    (cache / SMALL).unlink()
    damaged = tree(cache)
    refused = cli("verify", cache, "--repair")
    assert refused.exit_code == 2 and "give --sources MANIFEST" in refused.output
    assert tree(cache) == damaged
    done = cli("verify", cache, "--repair", "--sources", videos / "manifest.csv")
    assert done.exit_code == 0, done.output
    assert tree(cache) == tree(cache_path)


def test_rows_that_the_manifest_has_besides_the_caches_are_left_alone(
    cli: Callable[..., Result], cache: Path, cache_path: Path, videos: Path, tmp_path: Path
) -> None:
    flip(cache / FRAMES)
    head, first, *rest = (videos / "manifest.csv").read_text().splitlines()
    table = tmp_path / "grown.csv"
    table.write_text("\n".join([head, first, *rest, first.replace(first.split(",")[0], "new.mp4")]) + "\n")
    done = cli("verify", cache, "--repair", "--sources", table, "--root", videos)
    assert done.exit_code == 0, done.output
    assert tree(cache) == tree(cache_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_repair_that_is_refused_touches_nothing(cli: Callable[..., Result], cache: Path) -> None:
    flip(cache / LATENTS)
    damaged = tree(cache)
    refused = cli("verify", cache, "--repair", "--device", "cuda")
    assert refused.exit_code == 2 and "no GPU is there" in refused.output
    assert tree(cache) == damaged


@pytest.mark.slow
def test_a_changed_source_is_noticed_and_taken_as_it_is_now(
    cli: Callable[..., Result], cache: Path, cache_path: Path, videos: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(videos, tmp_path / "videos"))
    manifest = moved / "manifest.csv"
    assert cli("verify", cache, "--sources", manifest).exit_code == 0
    write_clip(moved / "slide/a.mp4", moving_square(25, seed=9))
    found = cli("verify", cache, "--sources", manifest)
    assert found.exit_code == 1 and "slide/a.mp4: its source has changed" in found.output
    assert cli("verify", cache).exit_code == 0  # the cache itself is whole
    done = cli("verify", cache, "--repair", "--sources", manifest)
    assert done.exit_code == 0, done.output
    # The same as a cache that never knew the old one.
    new = tmp_path / "new"
    cli("encode", manifest, "--out", new, "--size", "72x98", "--shard-size", 4, "--precision", "float32")
    cli("render", new, "--alpha", "0.5")
    cli("render", new, "--alpha", "0.5", "--keep", "0.2", "--scope", "clip")
    assert tree(cache) == tree(new)


def test_a_source_of_the_same_size_with_other_bytes_is_noticed(
    cli: Callable[..., Result], cache: Path, videos: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(videos, tmp_path / "videos"))
    flip(moved / "orbit/a.mp4")
    (moved / "orbit/short.mp4").unlink()
    words = ("verify", cache, "--sources", moved / "manifest.csv")
    found = cli(*words)
    assert "orbit/a.mp4: its source has changed: the same size, other bytes" in found.output
    assert "orbit/short.mp4: its source is not there any more" in found.output
    assert "2 problems" in found.output
    assert "orbit/a.mp4" not in cli(*words, "--quick").output  # that hashes nothing


def test_a_foreign_file_is_told_and_left(cli: Callable[..., Result], cache: Path) -> None:
    stranger = cache / "frames" / "holiday.h5"
    stranger.write_bytes(b"mine")
    flip(cache / LATENTS)
    done = cli("verify", cache, "--repair")
    assert done.exit_code == 1 and "frames/holiday.h5: is not part of the cache" in done.output
    assert stranger.read_bytes() == b"mine" and "1 problem;" in done.output

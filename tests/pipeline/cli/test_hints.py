"""Commands that the program prints as a remedy, followed to the letter, are one."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from click.testing import Result

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage.files import sha256
from tests.support.clips import moving_square, write_clip

Prep = Callable[..., Result]


def follow(cli: Prep, printed: str) -> Result:
    """Run the one command that a text has in backticks, or the one after a colon, as a shell would read it."""
    commands = re.findall(r"`s2vc-prep ([^`]+)`", " ".join(printed.split()))
    assert len(set(commands)) == 1, printed
    return cli(*shlex.split(commands[0]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with spaces in its name, with three videos and their manifest."""
    folder = tmp_path / "my videos"
    rows = ["video_id,label"]
    for number in range(3):
        write_clip(folder / f"{number}.mp4", moving_square(12, seed=number))
        rows.append(f"{number}.mp4,{number % 2}")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def made(folder: Path, cli: Prep, tmp_path: Path) -> Path:
    cache = tmp_path / "my cache"
    assert cli("encode", folder / "m.csv", "--out", cache, "--size", "64x80").exit_code == 0
    assert cli("render", cache, "--alpha", "0.5").exit_code == 0
    return cache


def test_a_video_that_was_downloaded_again_is_taken_as_it_is_now(shared: Path, cli: Prep, tmp_path: Path) -> None:
    """The reported case: 69 of 120 frames, then the whole file under the same name."""
    reports, folder, cache = shared / "data" / "reports", tmp_path / "videos", tmp_path / "cache"
    folder.mkdir()
    shutil.copy(reports / "cut.mp4", folder / "a.mp4")
    (tmp_path / "m.csv").write_text("video_id\na.mp4\n")
    assert cli("encode", tmp_path / "m.csv", "--root", folder, "--out", cache).exit_code == 0
    assert Cache(cache).index[["status", "frames"]].to_numpy().tolist() == [["partial", 69]]
    (folder / "a.mp4").unlink()
    shutil.copy(reports / "whole.mp4", folder / "a.mp4")
    found = cli("verify", cache, "--sources", tmp_path / "m.csv", "--root", folder)
    assert found.exit_code == 1 and "its source has changed" in found.output
    assert follow(cli, found.output).exit_code == 0
    assert Cache(cache).index[["status", "frames"]].to_numpy().tolist() == [["ok", 120]]
    assert cli("verify", cache, "--sources", tmp_path / "m.csv", "--root", folder).exit_code == 0


def test_retry_partial_does_it_as_well(shared: Path, cli: Prep, tmp_path: Path) -> None:
    reports, cache = shared / "data" / "reports", tmp_path / "cache"
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(reports / "cut.mp4", folder / "a.mp4")
    (folder / "m.csv").write_text("video_id\na.mp4\n")
    assert cli("encode", folder / "m.csv", "--out", cache).exit_code == 0
    (folder / "a.mp4").unlink()
    shutil.copy(reports / "whole.mp4", folder / "a.mp4")
    assert cli("encode", folder / "m.csv", "--out", cache, "--retry", "failed").exit_code == 0
    assert Cache(cache).index["frames"].tolist() == [69]
    assert cli("encode", folder / "m.csv", "--out", cache, "--retry", "partial").exit_code == 0
    assert Cache(cache).index[["status", "frames"]].to_numpy().tolist() == [["ok", 120]]


@pytest.mark.parametrize(
    "part", ["latents.zarr/00000/z/c/0/0", "small/00000.h5", "motion/alpha0.5-zero-video/00000.h5"]
)
def test_damage_is_mended_by_the_command_that_verify_prints(part: str, made: Path, folder: Path, cli: Prep) -> None:
    whole, digest = (made / part).read_bytes(), sha256(made / part)
    (made / part).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = cli("verify", made, "--sources", folder / "m.csv")
    assert found.exit_code == 1
    mended = follow(cli, found.output)
    assert mended.exit_code == 0, mended.output
    assert sha256(made / part) == digest
    assert cli("verify", made).exit_code == 0


def test_without_the_sources_it_says_what_frames_need(made: Path, folder: Path, cli: Prep) -> None:
    with h5py.File(made / "frames" / "00000.h5", "r+") as file:
        del file[next(iter(file))]
    found = cli("verify", made)
    words = " ".join(found.output.split())
    assert "add --sources and the manifest of the encode (and its --root)" in words
    (command,) = re.findall(r"`s2vc-prep ([^`]+)`", words)
    assert cli(*shlex.split(command), "--sources", folder / "m.csv").exit_code == 0
    assert cli("verify", made, "--sources", folder / "m.csv").exit_code == 0


def test_what_is_not_rendered_is_rendered_by_the_command_that_export_prints(
    made: Path, cli: Prep, tmp_path: Path
) -> None:
    line = ["export", made, "--variant", "alpha0.3-zero-clip8", "--out", tmp_path / "clips"]
    refused = cli(*line)
    assert refused.exit_code == 2
    assert follow(cli, refused.output).exit_code == 0
    assert cli(*line).exit_code == 0


def test_links_out_of_the_root_are_read_where_it_is_asked_for(folder: Path, cli: Prep, tmp_path: Path) -> None:
    blobs, root, cache = folder, tmp_path / "snapshot", tmp_path / "cache"
    root.mkdir()
    for number in range(3):
        (root / f"{number}.mp4").symlink_to(blobs / f"{number}.mp4")
    shutil.copy(folder / "m.csv", root / "m.csv")
    refused = cli("encode", root / "m.csv", "--out", cache)
    assert refused.exit_code == 3
    words = " ".join(refused.output.replace("│", " ").split())
    assert "(--follow-links --retry failed reads it)" in words
    assert cli("encode", root / "m.csv", "--out", cache, "--follow-links", "--retry", "failed").exit_code == 0
    assert Cache(cache).index["status"].tolist() == ["ok"] * 3
    # It is kept in the cache, for verify and for an encode that goes on.
    assert cli("verify", cache, "--sources", root / "m.csv").exit_code == 0
    assert cli("encode", root / "m.csv", "--out", cache).exit_code == 0


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("settings.yaml", ": it is the folder of a run, with settings.yaml, which `s2vc-eval report` shows"),
        ("sweep.csv", ": it is the folder of a sweep, with sweep.csv, which `s2vc-eval report` shows"),
        ("cache/cache.json", ", but at {folder}/cache"),
        ("thesis.tex", ""),
    ],
)
@pytest.mark.parametrize("command", ["info", "verify", "render"])
def test_another_folder_in_the_place_of_a_cache_is_named(
    command: str, file: str, said: str, cli: Prep, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    result = cli(command, tmp_path, *(["--alpha", "0.5"] if command == "render" else []))
    assert result.exit_code == 2
    expected = f"there is no cache at {tmp_path} (no cache.json){said.format(folder=tmp_path)}"
    assert result.output.splitlines()[-1].endswith(expected)

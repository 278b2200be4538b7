"""`s2vc-prep sample`: real MP4s with masks and labels, gone on with after a stop, refused where settings differ."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from s2vc.manifests.motions import AREA
from s2vc.manifests.table import read_manifest, root_of, split_columns
from s2vc.pipeline.demo.controlled_set import SampleFolder
from s2vc.pipeline.stages.video import decode_video
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import LOCK

SMALL = ["--per-class", 1, "--test-per-class", 1, "--size", "48x64", "--frames", 5, "--shift", 1.0]
PARTS = ("neutral", "matched", "swapped", "shake", "pan")


@pytest.fixture(scope="module")
def drawn(cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleFolder, str]:
    """A small set, and what the command said."""
    folder = SampleFolder(tmp_path_factory.mktemp("set") / "out")
    result = cli("sample", folder.root, *SMALL)
    assert result.exit_code == 0, result.output
    return folder, result.output


def bytes_of(folder: SampleFolder) -> dict[str, str]:
    return files.hashes([folder.videos, folder.root / "masks", folder.manifest, folder.contact_sheet], folder.root)


def test_the_manifest_has_two_labels_and_a_split_for_each_test(drawn: tuple[SampleFolder, str]) -> None:
    table = read_manifest(drawn[0].manifest)
    assert split_columns(table) == [f"split_{part}" for part in PARTS]
    assert table["part"].value_counts().to_dict() == {"train": 12, **dict.fromkeys(PARTS, 12)}
    for part in PARTS:
        roles = {"train": "train", part: "test"}
        assert table[f"split_{part}"].tolist() == [roles.get(p, "") for p in table["part"]]
    assert table["class_name"].equals(table["motion"]) and table["motion"].nunique() == 12
    numbers = {name: str(k) for k, name in enumerate(sorted(set(table["motion"])))}
    assert table["label"].tolist() == [numbers[name] for name in table["motion"]]
    trained = table[table["part"] == "train"]
    partners = dict(zip(trained["motion"], trained["scene"], strict=True))
    assert len(set(partners.values())) == 12
    goes_with = table["motion"].map(partners) == table["scene"]
    assert goes_with[table["part"].isin(["train", "matched"])].all() and not goes_with[table["part"] == "swapped"].any()


def test_every_video_plays_and_its_mask_fits(drawn: tuple[SampleFolder, str]) -> None:
    table = read_manifest(drawn[0].manifest)
    for video_id in table["video_id"][:: len(table) // 10]:
        taken: list[np.ndarray] = []
        decoded = decode_video(drawn[0].videos / video_id, 48, 64, taken.append)
        assert decoded.frames == 5 and (decoded.height, decoded.width, decoded.fps) == (48, 64, "24")
        mask = np.load(drawn[0].mask(video_id))["mask"]
        assert mask.shape == (5, 48, 64) and mask.dtype == bool and 0.01 < mask.mean() < 1.1 * AREA[1]
        # The toy is at least as saturated as what lies around it, in any scene.
        frames = np.concatenate(taken).astype(int)
        saturation = np.ptp(frames, axis=-1)
        assert saturation[mask].max() > 60


def test_it_ends_with_a_picture_and_the_next_command(drawn: tuple[SampleFolder, str]) -> None:
    folder, output = drawn
    with Image.open(folder.contact_sheet) as picture:
        assert picture.width > 1200 and picture.height > 1000
        assert np.asarray(picture.convert("L")).std() > 40
    last = output.splitlines()[-1].split()
    assert last[:3] == ["Next:", "s2vc-prep", "encode"] and last[3] == str(folder.manifest)
    assert root_of(folder.manifest) == folder.videos


def test_run_again_it_draws_only_what_is_missing(drawn: tuple[SampleFolder, str], cli: Callable[..., Result]) -> None:
    folder = drawn[0]
    before = bytes_of(folder)
    table = read_manifest(folder.manifest)
    lost = table["video_id"].iloc[[3, 40]].tolist()
    (folder.videos / lost[0]).unlink()
    folder.mask(lost[1]).unlink()
    folder.manifest.unlink()
    (folder.videos / (lost[0] + files.ATTEMPT + "1-deadbeef")).write_text("half")
    result = cli("sample", folder.root, *SMALL)
    assert result.exit_code == 0 and "72 videos" in result.output and "2 of them drawn now" in result.output
    assert bytes_of(folder) == before


@pytest.mark.slow
def test_killed_and_run_again_it_ends_in_the_same_bytes(
    drawn: tuple[SampleFolder, str], tmp_path: Path, cli: Callable[..., Result]
) -> None:
    folder = SampleFolder(tmp_path / "out")
    words = [sys.executable, "-m", "s2vc.pipeline.cli", "sample", str(folder.root), *map(str, SMALL)]
    job = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    while job.poll() is None and len(list(folder.videos.rglob("*.mp4"))) < 3:
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.wait()
    while _group_lives(job.pid):  # its workers die with it
        time.sleep(0.05)
    assert not folder.manifest.exists()
    assert cli("sample", folder.root, *SMALL).exit_code == 0
    assert bytes_of(folder) == bytes_of(drawn[0])


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return any(_state(int(p.name)) not in "ZX" for p in Path("/proc").iterdir() if p.name.isdigit() and _in(p, group))


def _in(process: Path, group: int) -> bool:
    try:
        return os.getpgid(int(process.name)) == group
    except ProcessLookupError:
        return False


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--shift", 0.5], "shift is 1.0 there, 0.5 here"),
        (["--per-class", 3], "per_class is 1 there, 3 here"),
        (["--size", "48x66"], "size is [48, 64] there, [48, 66] here"),
        (["--shift", "nan"], "shift is a probability"),
        (["--size", "48x65"], "sides are even"),
    ],
)
def test_other_settings_are_refused_with_the_difference(
    changed: list[object], message: str, drawn: tuple[SampleFolder, str], cli: Callable[..., Result]
) -> None:
    before = bytes_of(drawn[0])
    result = cli("sample", drawn[0].root, *SMALL, *changed)
    assert result.exit_code == 2 and message in result.output, result.output
    assert bytes_of(drawn[0]) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, cli: Callable[..., Result]) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    result = cli("sample", tmp_path, *SMALL)
    assert result.exit_code == 2 and "holds something else" in result.output
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == ["thesis.tex"]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "sample.json").write_text("[1]")
    result = cli("sample", tmp_path / "set", *SMALL)
    assert result.exit_code == 2 and "damaged" in result.output


def test_a_set_that_another_job_draws_is_refused(drawn: tuple[SampleFolder, str], cli: Callable[..., Result]) -> None:
    with files.flocked(drawn[0].root / LOCK):
        result = cli("sample", drawn[0].root, *SMALL)
    assert result.exit_code == 2 and "in use by another job" in result.output


def test_a_quarter_of_the_training_videos_is_the_usual_size_of_a_test(
    tmp_path: Path, cli: Callable[..., Result]
) -> None:
    folder = SampleFolder(tmp_path)
    # Refused for its frames, after its settings were made: the smallest command that tells them.
    folder.settings.write_text(json.dumps({"per_class": 0}))
    result = cli("sample", tmp_path, "--per-class", 9)
    assert result.exit_code == 2 and "per_class is 0 there, 9 here" in result.output
    folder.settings.write_text(json.dumps({"per_class": 9}))
    assert "test_per_class is None there, 2 here" in cli("sample", tmp_path, "--per-class", 9).output

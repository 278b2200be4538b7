"""The command line: help without waiting, manifests from the official lists, and mistakes in one line."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import read_manifest
from s2vc.pipeline.cli import COMMANDS
from s2vc.pipeline.console.commands import report_user_errors
from s2vc.pipeline.console.exit_codes import Exit

Prep = Callable[..., Result]


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = """
import sys
from s2vc.pipeline.cli import main
sys.argv = ["s2vc-prep", "--help"]
try:
    main()
except SystemExit:
    print("HEAVY", [m for m in ("torch", "ray", "zarr", "pandas") if m in sys.modules])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name}" in output for name in COMMANDS)
    assert "HEAVY []" in output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli: Prep, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert len(result.output) > 200


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Videos (named, empty: manifests do not open them) and the three kinds of list."""
    for video in ("Archery/v_Archery_g01_c01.avi", "Archery/v_Archery_g02_c01.avi", "Biking/v_Biking_g01_c01.avi"):
        path = tmp_path / "videos" / video
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lists = tmp_path / "ucf"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 Biking\n")
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g01_c01.avi 1\nBiking/v_Biking_g01_c01.avi 2\n")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g02_c01.avi\nBiking/v_Biking_g09_c09.avi\n")
    (tmp_path / "train.txt").write_text("Archery/v_Archery_g01_c01.mp4 0 33\nBiking/v_Biking_g01_c01.mp4 1 99\n")
    return tmp_path


def test_ucf101_lists_become_a_manifest_and_what_is_missing_a_file(cli: Prep, listed: Path) -> None:
    out = listed / "m.csv"
    result = cli("manifest", "ucf101", listed / "videos", "--lists", listed / "ucf", "--out", out)
    assert result.exit_code == 0, result.output
    table = read_manifest(out).set_index("video_id")
    assert table["split1"].to_dict() == {
        "Archery/v_Archery_g01_c01.avi": "train",
        "Archery/v_Archery_g02_c01.avi": "test",
        "Biking/v_Biking_g01_c01.avi": "train",
    }
    assert table.loc["Biking/v_Biking_g01_c01.avi", "label"] == "1"
    assert "1 of 4 listed videos" in result.output
    assert "v_Biking_g09_c09" in (listed / "m.missing.csv").read_text()


def test_the_published_lists_find_videos_under_another_ending(cli: Prep, listed: Path) -> None:
    out = listed / "m.parquet"
    result = cli("manifest", "lists", listed / "videos", "--train", listed / "train.txt", "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(read_manifest(out)["video_id"]) == ["Archery/v_Archery_g01_c01.avi", "Biking/v_Biking_g01_c01.avi"]


def test_a_folder_becomes_a_manifest(cli: Prep, listed: Path) -> None:
    assert cli("manifest", "folder", listed / "videos", "--out", listed / "m.csv").exit_code == 0
    table = read_manifest(listed / "m.csv")
    assert table["class_name"].tolist() == ["Archery", "Archery", "Biking"]
    assert table["label"].tolist() == ["0", "0", "1"]


def test_mistakes_get_one_line_and_code_2(cli: Prep, listed: Path) -> None:
    (listed / "nothing").mkdir()
    mistakes = [
        cli("manifest", "folder", listed / "nowhere", "--out", listed / "m.csv"),
        cli("manifest", "folder", listed / "nothing", "--out", listed / "m.csv"),
        cli("manifest", "lists", listed / "videos", "--out", listed / "m.csv"),
        cli("manifest", "hmdb51", listed / "videos", "--lists", listed / "ucf", "--out", listed / "m.csv"),
    ]
    for result in mistakes:
        assert result.exit_code == 2, result.output
        assert result.output.startswith("s2vc-prep: ")
        assert result.output.strip().count("\n") == 0
    assert not (listed / "m.csv").exists()


def test_an_unknown_command_is_a_mistake(cli: Prep) -> None:
    result = cli("enocde")
    assert result.exit_code == 2
    assert "No such command" in result.output


def fail_beside(number: int, then: Exception) -> None:
    """A command that meets an error of the system, and raises another one for it."""
    with report_user_errors(click.Context(click.Command("export"))):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise then from error


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EACCES, 2)])
def test_a_user_error_that_failing_storage_made_has_the_exit_code_of_that(number: int, code: int) -> None:
    with pytest.raises(Exit) as ended:
        fail_beside(number, UserError("a clip cannot be written"))
    assert ended.value.exit_code == code


def test_a_fault_of_the_program_beside_failing_storage_is_told_as_one() -> None:
    with pytest.raises(KeyError):
        fail_beside(errno.ENOSPC, KeyError("a key"))

"""-q, -v and --json mean the same in every command, and so do --device, --threads and --workers."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from s2vc.eval.cli.sweep import main as sweep
from s2vc.pipeline.cli import main as prep
from tests.support.clips import moving_square, write_clip

GROUPS = {"s2vc-prep": "s2vc.pipeline.cli", "s2vc-train": "s2vc.training.cli", "s2vc-eval": "s2vc.eval.cli"}

TABLES = """
s2vc-prep demo|s2vc-prep manifest folder|s2vc-prep manifest ucf101|s2vc-prep encode|s2vc-prep render|s2vc-prep info|
s2vc-prep verify|s2vc-prep compare-flows|s2vc-prep flow-info|s2vc-eval retrieval|s2vc-eval linear|s2vc-eval finetune|
s2vc-eval order|s2vc-eval static-bias|s2vc-eval similarity|s2vc-eval normality|s2vc-eval saliency|s2vc-eval motion|
s2vc-eval people|s2vc-eval report|s2vc-sweep
"""
"""These print a table, or counts of what they found."""

ON_A_DEVICE = """
s2vc-prep demo|s2vc-prep encode|s2vc-prep render|s2vc-prep preview|s2vc-prep verify|s2vc-prep fit-flow|
s2vc-prep compare-flows|s2vc-prep flow-info|s2vc-train run|s2vc-eval retrieval|s2vc-eval linear|s2vc-eval finetune|
s2vc-eval order|s2vc-eval static-bias|s2vc-eval saliency|s2vc-sweep
"""
"""A flow or a backbone computes in these."""

IN_PROCESSES = "s2vc-prep demo|s2vc-prep sample|s2vc-prep encode|s2vc-prep render|s2vc-prep verify|s2vc-sweep"
"""These share their work among processes, by default as many as there are CPUs."""


def names(text: str) -> set[str]:
    return {name.strip() for name in text.split("|")}


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Each command of all command lines that does something, with its full name."""
    waiting: list[tuple[str, click.Command]] = [("s2vc-sweep", sweep)]
    waiting += [(name, importlib.import_module(module).main) for name, module in GROUPS.items()]
    while waiting:
        name, command = waiting.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            found = [(f"{name} {one}", command.get_command(context, one)) for one in command.list_commands(context)]
            waiting += [(one, each) for one, each in found if each is not None]
        else:
            yield name, command


COMMANDS = dict(all_commands())


def helps(option: str) -> dict[str, str]:
    """The help of an option, by the names of the commands that have it."""
    found = {name: [p for p in command.params if option in p.opts] for name, command in COMMANDS.items()}
    assert all(len(params) < 2 for params in found.values())
    return {
        name: params[0].help or ""
        for name, params in found.items()
        if isinstance(params[0:1] and params[0], click.Option)
    }


@pytest.mark.parametrize("option", ["--quiet", "-q", "--verbose", "-v"])
def test_every_command_can_be_quiet_and_verbose(option: str) -> None:
    assert helps(option).keys() == COMMANDS.keys()
    assert len(set(helps(option).values())) == 1


def test_options_with_one_meaning_are_where_they_belong_and_say_the_same() -> None:
    assert helps("--json").keys() >= names(TABLES)
    assert helps("--device").keys() == names(ON_A_DEVICE)
    assert helps("--workers").keys() >= names(IN_PROCESSES)
    assert helps("--threads").keys() >= names(ON_A_DEVICE) - {
        "s2vc-prep demo", "s2vc-prep encode", "s2vc-prep render", "s2vc-prep verify"  # on Ray, one thread to a worker
    }  # fmt: skip
    for option, which in (("--json", TABLES), ("--device", ON_A_DEVICE), ("--workers", IN_PROCESSES)):
        assert len({helps(option)[name] for name in names(which)}) == 1
    assert len({text for name, text in helps("--threads").items() if name != "s2vc-sweep"}) == 1


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of two classes."""
    folder = tmp_path_factory.mktemp("said") / "videos"
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4"):
        write_clip(folder / name, moving_square(4))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(prep, [str(word) for word in arguments], prog_name="s2vc-prep")


def test_quiet_leaves_the_result_and_json_is_all_of_standard_output(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "videos.csv"
    command = ["manifest", "folder", videos, "--out", out]
    usual, quiet, document = run(*command), run(*command, "-q"), run(*command, "--json")
    result = f"3 videos of 2 classes in {out}\n"
    assert result in usual.stdout and f"Next: s2vc-prep encode {out}" in usual.stdout
    assert quiet.output == result
    assert document.stdout.startswith("{") and result in document.stderr
    known = json.loads(document.stdout)
    assert (known["manifest"], known["videos"], known["classes"], known["left_out"]) == (str(out), 3, 2, 0)
    both = run(*command, "-q", "--json")
    assert json.loads(both.stdout) == known and "Next:" not in both.stderr


def test_verbose_says_what_is_chosen_how_long_it_took_and_what_caused_an_error(videos: Path, tmp_path: Path) -> None:
    said = run("manifest", "folder", videos, "--out", tmp_path / "v.csv", "-v").stderr
    assert f"--out {tmp_path / 'v.csv'}\n" in said and "--split-folders auto (default)\n" in said
    assert "took " in said
    usual, verbose = (run("info", tmp_path / "none", *more) for more in ([], ["--verbose"]))
    last = f"there is no cache at {tmp_path / 'none'} (no cache.json)\n"
    assert usual.exit_code == verbose.exit_code == 2
    assert usual.output == f"s2vc-prep: {last}"
    assert "Traceback" in verbose.stderr and "FileNotFoundError" in verbose.stderr and verbose.stderr.endswith(last)
    assert "exclude each other" in run("info", tmp_path, "-q", "-v").stderr

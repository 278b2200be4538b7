"""What computes nothing is there at once: no command line imports torch, Ray and the like to show help or a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pandas", "pyarrow", "zarr", "h5py", "ray", "matplotlib", "scipy", "kornia", "cv2", "simplejpeg")
"""Each of these takes a tenth of a second or more to import."""

COMMAND_LINES = {
    "s2vc-prep": "s2vc.pipeline.cli:main",
    "s2vc-train": "s2vc.training.cli:main",
    "s2vc-eval": "s2vc.eval.cli:main",
    "s2vc-sweep": "s2vc.eval.cli.sweep:main",
}
"""Where the command of each is."""

RUN = """
import contextlib, importlib, io, json, sys
import click
heavy, (module, name), *calls = json.loads(sys.argv[1])
main = getattr(importlib.import_module(module), name)
ended = []
def commands(command, words):
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for one in command.list_commands(context):
            yield from commands(command.get_command(context, one), [*words, one])
for words in [words + [last] for words in commands(main, []) for last in ("--help", "--no-such-option")] + calls:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(words, prog_name="PROGRAM")
        except SystemExit as end:
            ended.append((words, end.code, said.getvalue(), [name for name in heavy if name in sys.modules]))
print(json.dumps(ended))
"""


def run_light(script: str, *calls: list[str]) -> list[tuple[list[str], int, str, list[str]]]:
    """In a fresh interpreter: the help of a command line and of all its commands, an unknown option of each, and
    calls; of each its words, exit code, what it said, and what of HEAVY was imported by then."""
    given = json.dumps([HEAVY, COMMAND_LINES[script].split(":"), *calls])
    ended = subprocess.run([sys.executable, "-c", RUN, given], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


CALLS = {
    "s2vc-prep": [["render"], ["render", "NO", "--scope", "frame"], ["encode", "NO.csv", "--out", "x"], ["nder"]],
    "s2vc-train": [["--threads", "2", "NO", "--batch", "many"], ["export"]],
    "s2vc-eval": [["linear", "NO", "random", "--threads", "2", "--out", "x", "--epochs", "many"], ["retreival"]],
    "s2vc-sweep": [["NO", "--alphas", "much"], ["NO", "--seeds", "0"]],
}
"""Mistakes beside an unknown option: each ends with exit code 2."""


@pytest.mark.parametrize("script", COMMAND_LINES)
def test_help_and_mistakes_of_every_command_import_nothing_heavy(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run_light(script, ["--version"], *CALLS[script])
    assert len(ended) > 2 + len(CALLS[script])
    for words, code, said, imported in ended:
        assert not imported, f"{script} {' '.join(words)} imports {imported}"
        fine = words[-1] in ("--help", "--version")
        assert code == (0 if fine else 2), f"{script} {' '.join(words)} ended with {code}: {said}"
        assert ("Usage" in said or "version" in said) if fine else "Error" in said
    assert not list(tmp_path.iterdir())


def test_who_only_looks_into_a_cache_waits_for_no_torch(cache_path: Path) -> None:
    looked = (
        "import sys; from s2vc.pipeline.cli import main; main(['info', sys.argv[1]], standalone_mode=False); "
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", looked, str(cache_path)], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"

"""Run programs of which some fail, hang or are killed, and keep the end of what they said."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

import s2vc

TAIL = 2000
"""So many characters of what a program printed, on stdout and stderr, are kept where it failed."""
CALL_SECONDS = 240
"""A command that has not ended by then hangs."""

COMMANDS = {"s2vc-prep": "s2vc.pipeline.cli", "s2vc-train": "s2vc.training.cli", "s2vc-eval": "s2vc.eval.cli"}


class CommandFailed(Exception):
    """Says which command failed, how, and what it printed last."""


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", f"from {COMMANDS[name]} import main; main()", *map(str, arguments)]


def call(
    name: str, *arguments: object, environment: Mapping[str, str] | None = None, limit: float = CALL_SECONDS
) -> float:
    """Run one of our commands to its end; return the seconds it took. Raises CommandFailed."""
    return run(command(name, *arguments), " ".join(map(str, (name, *arguments))), limit, environment)[0]


def run(
    words: Sequence[str], shown: str, limit: float = CALL_SECONDS, environment: Mapping[str, str] | None = None
) -> tuple[float, str]:
    """Run a program to its end; return the seconds it took and the end of what it printed.

    shown: what it is called in messages. Raises CommandFailed, with that end, where it fails or takes longer than
    `limit` seconds.
    """
    print("$", shown, flush=True)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        try:
            code = process.wait(limit)
            how = f"exit code {code}"
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            code = process.wait()
            how = f"killed after {limit:.0f} s"
        spent = time.perf_counter() - started
        log.seek(0)
        said = log.read()[-TAIL:]
    if code:
        raise CommandFailed(f"{shown}: {how}\n{said}")
    return spent, said


def let_be_found(folder: Path) -> None:
    """Let programs that are started from here find which version of s2vc runs, which they ask for, in a clone that is
    not installed."""
    try:
        version("s2vc")
    except PackageNotFoundError:
        description = folder / f"s2vc-{s2vc.__version__}.dist-info" / "METADATA"
        description.parent.mkdir(parents=True, exist_ok=True)
        description.write_text(f"Metadata-Version: 2.1\nName: s2vc\nVersion: {s2vc.__version__}\n")
        os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(folder)])


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started, those that end meanwhile excepted."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def tail(path: Path) -> str:
    """Return the end of a text file."""
    return path.read_text(errors="replace")[-TAIL:]

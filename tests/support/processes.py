"""The real command as a process of its own, and the processes that a test has started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psutil

LIMIT = 300.0
"""Seconds any wait may take before the test gives up."""

Job = subprocess.Popen[bytes]


def start(
    arguments: list[object],
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    **options: Any,
) -> Job:
    """`s2vc-prep` as a process of its own, with its own Ray; environment: variables beside those there are."""
    command = [python, "-m", "s2vc.pipeline.cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(environment or {}),
        # A shell's background job, and with it whatever runs these tests, may ignore Ctrl-C; the command must not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        **options,
    )


def finish(process: Job) -> int:
    """The exit code; what it said is shown with a test that fails."""
    return end(process)[0]


def end(process: Job) -> tuple[int, str]:
    """The exit code, and what it said."""
    output, _ = process.communicate(timeout=LIMIT)
    sys.stdout.buffer.write(output)
    return process.returncode, output.decode()


def run(arguments: list[object], environment: Mapping[str, str] | None = None, **options: Any) -> tuple[int, str]:
    """The command, to its end: the exit code, and what it said."""
    return end(start(arguments, environment, **options))


def wait_for(condition: Callable[[], object], process: Job) -> object:
    """The first true value of the condition; an error if the process ends or time runs out first."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, "the job ended before it could be disturbed"
        time.sleep(0.002)
    raise TimeoutError


def below(pid: int, wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """The descendants of a process that are wanted; those that go while they are looked at are left out."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # gone, or dead and not yet collected
            if wanted(child):
                found.append(child)
    return found


def workers(process: Job, task: str) -> list[psutil.Process]:
    """Ray's worker processes of a job that are busy with a task of this name."""
    return below(process.pid, lambda child: "".join(child.cmdline()[:1]).startswith(f"ray::{task}"))


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """They stand still while the block runs, so that what is changed in it is changed in the middle of their work."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()

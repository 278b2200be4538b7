"""Run the real command as a process of its own, and find, wait for and stop the processes of a test."""

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
"""A test fails after waiting for anything for this many seconds."""

Job = subprocess.Popen[bytes]


def start(
    arguments: list[object],
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    **options: Any,
) -> Job:
    """Start `s2vc-prep` as a process of its own, with its own Ray.

    environment: variables in addition to those of this process. python: the interpreter. options: those of Popen.
    """
    command = [python, "-m", "s2vc.pipeline.cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(environment or {}),
        # A background job of a shell, as the tests may be, ignores Ctrl-C and passes that on; the command must not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        **options,
    )


def finish(process: Job) -> int:
    """Wait for the end of a process and return its exit code; pytest shows its output if the test fails."""
    return end(process)[0]


def end(process: Job) -> tuple[int, str]:
    """Wait for the end of a process and return its exit code and its output."""
    output, _ = process.communicate(timeout=LIMIT)
    sys.stdout.buffer.write(output)
    return process.returncode, output.decode()


def run(arguments: list[object], environment: Mapping[str, str] | None = None, **options: Any) -> tuple[int, str]:
    """Run `s2vc-prep` to its end and return its exit code and its output."""
    return end(start(arguments, environment, **options))


def wait_for(condition: Callable[[], object], process: Job) -> object:
    """Wait until a condition returns a true value, and return it; fail if the process ends or time runs out first."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, "the job ended before it could be disturbed"
        time.sleep(0.002)
    raise TimeoutError


def below(pid: int, wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Return the descendants of a process that are wanted, without those that end while they are examined."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # the process has ended, or is a zombie
            if wanted(child):
                found.append(child)
    return found


def workers(process: Job, task: str) -> list[psutil.Process]:
    """Return Ray's worker processes of a job that are busy with a task whose name starts with `task`."""
    return below(process.pid, lambda child: "".join(child.cmdline()[:1]).startswith(f"ray::{task}"))


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Suspend processes while the block runs, so that it can change things in the middle of their work."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()

"""What a command takes of the machine: cores, threads that wait without spinning, workers as nice as itself."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from click.testing import Result

from s2vc.pipeline.processors import available_cpus
from tests.support.processes import finish, start, wait_for, workers
from tests.support.reference_run import encode_command

BOUND = len(os.sched_getaffinity(0))

LINES = [
    ("s2vc.pipeline.cli", ["flow-info", "NOSUCH"]),
    ("s2vc.training.cli", ["run", "NOSUCH", "--alpha", "0.5"]),
    ("s2vc.eval.cli", ["retrieval", "NOSUCH", "random"]),
    ("s2vc.eval.cli.sweep", ["NOSUCH", "--alphas", "0.5"]),
]
"""These load torch, and with it OpenMP, before they find that there is no such file."""


def openmp_of(module: str, arguments: list[str], **environment: str) -> str:
    """What OpenMP says of itself when a command line has loaded it, and ends with a usage error."""
    call = [sys.executable, "-c", f"from {module} import main; main()", *arguments]
    unset = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    shown = unset | {"OMP_DISPLAY_ENV": "true"} | environment
    done = subprocess.run(call, env=shown, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize(("module", "arguments"), LINES)
def test_threads_wait_passively(module: str, arguments: list[str]) -> None:
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in openmp_of(module, arguments)


def test_who_wants_threads_to_spin_may_say_so() -> None:
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in openmp_of(*LINES[0], OMP_WAIT_POLICY="ACTIVE")


def test_workers_are_as_nice_as_the_command(folder: Path, tmp_path: Path) -> None:
    job = start(encode_command(folder, tmp_path / "cache"))
    found = wait_for(lambda: workers(job, ""), job)
    assert {worker.nice() for worker in found} == {psutil.Process(job.pid).nice()}  # type: ignore[attr-defined]
    assert finish(job) == 0


@pytest.mark.parametrize(("given", "cores"), [pytest.param(1, 1, marks=pytest.mark.slow), (BOUND, BOUND)])
def test_threads_are_those_asked_for(cli: Callable[..., Result], given: int, cores: int) -> None:
    before = torch.get_num_threads()
    try:
        result = cli("flow-info", "untrained", "--threads", given)
        assert (result.exit_code, torch.get_num_threads()) == (0, cores)
        assert f"on {cores} core" in result.output
        assert cli("flow-info", "untrained", "--threads", 0).exit_code == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("variable", "cores"), [("1", 1), ("3", 3), ("3,2", 3), ("", BOUND), ("0", BOUND), ("many", BOUND)]
)
def test_where_nobody_says_openmps_variable_does(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, variable: str, cores: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before = torch.get_num_threads()
    try:
        assert cli("flow-info", "untrained").exit_code == 0
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({}, BOUND),
        ({"cpu.max": "max 100000\n"}, BOUND),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, min(BOUND, 99)),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, BOUND),
        ({"cpu/cpu.cfs_quota_us": "90000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_containers_quota_counts(files: dict[str, str], allowed: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cpus(tmp_path) == allowed

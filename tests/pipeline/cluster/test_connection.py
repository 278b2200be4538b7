"""Where no cluster answers at an address, or our own does not come up, a command says so, in a time that is known."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
import ray
import torch

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cluster.connection import cluster, wait_for_head
from s2vc.pipeline.device import VISIBLE_GPUS, nth_visible


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_head_that_takes_connections_is_waited_for_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        wait_for_head(f"127.0.0.1:{port}", 60)
        wait_for_head(f"ray://127.0.0.1:{port}", 60)


@pytest.mark.parametrize("address", ["auto", "local", "head", "head:name"])
def test_addresses_without_a_port_are_for_ray_to_find(address: str) -> None:
    wait_for_head(address, 60)


def test_a_host_that_nobody_knows_is_told_at_once() -> None:
    before = time.monotonic()
    with pytest.raises(UserError, match=r"no Ray cluster answers at nowhere\.invalid:6379"):
        wait_for_head("nowhere.invalid:6379", 600)
    assert time.monotonic() - before < 300, "it is not tried again for the time that a starting head gets"


def test_a_head_that_does_not_run_is_told_after_the_time() -> None:
    with pytest.raises(UserError, match=r"Connection refused.*is its head running"):
        wait_for_head(f"127.0.0.1:{free_port()}", 1.0)


def test_a_head_that_is_just_starting_is_waited_for() -> None:
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_head, f"127.0.0.1:{port}", 300)
        time.sleep(1.0)
        assert not waiting.done()
        with socket.create_server(("127.0.0.1", port)):
            waiting.result(timeout=300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("device", "said"), [("cuda", "no GPU is there"), ("cuda:1", "no device 'cuda:1' here: PyTorch finds no GPUs")]
)
def test_a_gpu_that_is_not_there_is_told_before_ray_starts(device: str, said: str) -> None:
    running, visible = ray.is_initialized(), os.environ.get(VISIBLE_GPUS)
    with pytest.raises(UserError, match=said), cluster(None, 1, device):
        raise AssertionError("the block is not entered")
    assert ray.is_initialized() == running
    assert os.environ.get(VISIBLE_GPUS) == visible


def test_one_gpu_is_not_asked_of_a_cluster_elsewhere() -> None:
    with pytest.raises(UserError, match="cuda:1 names a GPU of this machine"), cluster("10.0.0.1:6379", None, "cuda:1"):
        raise AssertionError("the block is not entered")


def test_a_gpu_is_counted_among_those_that_are_visible() -> None:
    assert [nth_visible(None, 2), nth_visible("4, 6", 1), nth_visible("GPU-8932f937", 0)] == ["2", "6", "GPU-8932f937"]


STARTING = """
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cluster.connection import cluster
try:
    with cluster(None, 1):
        import ray
        print("runs", ray.cluster_resources()["CPU"])
except UserError as error:
    print(error.exit_code, error)
"""


LIMIT = 240
"""A test waits for so many seconds."""


def start_with_stopped(name: str, count: int) -> tuple[str, list[psutil.Process]]:
    """Start a cluster of our own in a process, of which the first processes of a name are stopped as they appear, as if
    the machine had no time for them; return what it printed, and those processes."""
    seen: list[psutil.Process] = []
    with subprocess.Popen([sys.executable, "-c", STARTING], stdout=subprocess.PIPE, text=True) as starting:
        driver, until = psutil.Process(starting.pid), time.monotonic() + LIMIT
        while starting.poll() is None and len(seen) < count and time.monotonic() < until:
            with suppress(psutil.NoSuchProcess):
                for process in driver.children():
                    if process.name() == name and process not in seen:
                        process.send_signal(signal.SIGSTOP)
                        seen.append(process)
            time.sleep(0.005)
        printed, _ = starting.communicate(timeout=LIMIT)
        return printed, seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("raylet", 1, "runs 1.0\n"),
        ("gcs_server", 1, "runs 1.0\n"),
        ("raylet", 2, "1 Ray did not start on this machine in 30 s, and not in another 30"),
    ],
)
def test_a_cluster_that_does_not_come_up_is_started_once_more(name: str, count: int, said: str) -> None:
    printed, stopped = start_with_stopped(name, count)
    assert printed.startswith(said), printed
    assert len(stopped) == count
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in stopped)

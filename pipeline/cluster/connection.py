"""Connect to Ray: a cluster of our own on this machine, or one that runs at an address."""

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeGuard

import psutil
import ray
import ray.exceptions
import torch

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cluster.nodes import refuse_unusable_gpus
from s2vc.pipeline.device import one_gpu_visible

MEMORY_RETRIES = 5
"""A task that Ray killed because memory ran out is tried again this many times, after 1, 2, 4, … s; by default Ray
never gives up."""

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

TOO_LATE = ("timed out during startup", "Failed to start GCS", "Timed out waiting for file")
"""Ray's words where one of its processes did not come up in time: the raylet, the GCS, and the GCS's port."""

HEAD_SECONDS = 30.0
"""A head that was started just before has this time to answer."""

NO_GPU = "--device cuda: no GPU is there that PyTorch can use"

LONGEST_FOR_SOCKETS = 40
"""A Unix socket's path has at most 107 bytes, and Ray adds 65 to the folder that it is given."""


class NotStarted(UserError):
    """Says that no cluster of our own came up."""

    exit_code = 1


@contextmanager
def cluster(address: str | None, workers: int | None, device: str | None = None) -> Iterator[None]:
    """Run Ray while the block does: a cluster of our own (never one that happens to run), or the one at the address.

    device: the one that is asked for, "cpu", "cuda", or "cuda:1" for one GPU of this machine, the only one that a
    cluster of our own has then. Raises UserError, before anything is started, if a cluster of our own would lack it, or
    if one GPU is asked of the cluster at an address; and if no cluster answers there, or if it wants a token. Raises
    NotStarted if our own does not come up.
    """
    if address and is_one_gpu(device):
        raise UserError(f"--device {device} names a GPU of this machine; Ray gives the workers of a cluster theirs")
    if not address and device == "cuda" and not torch.cuda.is_available():
        raise UserError(NO_GPU)
    # Ray's usage report would go to the network, and its dashboard is a server that nobody asked for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(MEMORY_RETRIES))
    # By default Ray gives its workers a niceness of 15, so that a job would hardly progress on a machine that also
    # trains.
    os.environ.setdefault("RAY_worker_niceness", "0")
    already = ray.is_initialized()
    with one_gpu_visible(device) if is_one_gpu(device) else nullcontext():
        if not already:
            with _own_handlers():
                if address:
                    _join_cluster(address)
                else:
                    _start_cluster(workers)
        try:
            yield
        finally:
            if not already:
                ray.shutdown()


def _join_cluster(address: str) -> None:
    wait_for_head(address, HEAD_SECONDS)
    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, ValueError, ray.exceptions.AuthenticationError) as error:
        if _wants_token(error):
            raise UserError(
                f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token, and have the head's token "
                "in ~/.ray/auth_token or RAY_AUTH_TOKEN"
            ) from error
        raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from error


def _start_cluster(workers: int | None) -> None:
    """Start a cluster of our own, with so many CPUs, None for all. Raises NotStarted if its processes do not come up in
    the 30 s that Ray gives them, twice: a machine that does much else may need more."""
    own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    if folder := folder_for_sockets():
        own["_temp_dir"] = folder
    if not torch.cuda.is_available():
        own["num_gpus"] = 0  # Ray would count GPUs that a CPU build of PyTorch cannot use
    before = set(psutil.Process().children())
    for last in (False, True):
        try:
            ray.init(address="local", **QUIET, **own)
            return
        except Exception as error:  # Ray raises no class of its own here.
            if not any(words in str(error) for words in TOO_LATE):
                raise
            ray.shutdown()
            # What comes up late would start workers of its own.
            for process in set(psutil.Process().children()) - before:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if last:
                raise NotStarted(
                    "Ray did not start on this machine in 30 s, and not in another 30: it is busy with something else, "
                    "or has too little memory; run the same command again when it is not"
                ) from error


def wait_for_head(address: str, seconds: float) -> None:
    """Return once the head of a cluster takes connections: Ray by itself would try for minutes, and not say so.

    address: HOST:PORT, with or without `ray://`; others (`auto`) are Ray's to find. Raises UserError after the time.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    until = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds):
                return
        except (OSError, OverflowError) as error:
            if time.monotonic() >= until or not isinstance(error, ConnectionRefusedError):
                reason = getattr(error, "strerror", None) or error
                raise UserError(
                    f"no Ray cluster answers at {address} ({reason}): is its head running, and is this its address?"
                ) from None
        time.sleep(0.5)


def folder_for_sockets(short: str = "/tmp") -> str | None:
    """Return a folder for Ray's files where its own choice cannot be used: where it is too long for its sockets, as
    Slurm's TMPDIR often is, or no folder that can be written.

    None where Ray's own choice will do. short: where the folder is made. Raises UserError if nothing can be written
    there, or if RAY_TMPDIR, which the user has set, is too long itself.
    """
    given = os.environ.get("RAY_TMPDIR")
    chosen = given or os.environ.get("TMPDIR") or tempfile.gettempdir()
    fits = len(os.fsencode(chosen)) + len("/ray") <= LONGEST_FOR_SOCKETS
    if fits and (given or (os.path.isabs(chosen) and _can_write_in(chosen))):
        return None
    if not given and _can_write_in(short):
        return os.path.join(short, f"s2vc-ray-{os.getuid()}")
    fault = "cannot be written" if fits else "is too long for the sockets of Ray"
    most = LONGEST_FOR_SOCKETS - len("/ray")
    raise UserError(
        f"{chosen} {fault}: set RAY_TMPDIR to a folder on this machine's own disk with a path of {most} bytes at most"
    )


def _can_write_in(folder: str) -> bool:
    try:
        with tempfile.TemporaryDirectory(dir=folder):  # Root may write everywhere, but not in /proc.
            return True
    except OSError:
        return False


def _wants_token(error: BaseException | None) -> bool:
    # Ray wraps the cluster's answer in errors that mention only the connection.
    while error is not None:
        if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep our signal handlers: Ray puts one of its own on SIGTERM, which aborts."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)


def gpus() -> int:
    """Return the number of GPUs in the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def is_one_gpu(device: str | None) -> TypeGuard[str]:
    """Tell whether a device is one GPU of this machine, such as "cuda:1"."""
    return device is not None and device.startswith("cuda:")


def flow_device(asked: str | None = None) -> str:
    """Return the device for the flow: the kind asked for, else "cuda" if the cluster has GPUs, else "cpu".

    Raises UserError if GPUs are asked for and there is none, or a node was started with a GPU that PyTorch does not
    find.
    """
    found = gpus()
    if asked not in (None, "cpu") and not found:
        raise UserError(NO_GPU)
    if asked == "cpu" or not found:
        return "cpu"
    refuse_unusable_gpus()
    return "cuda"

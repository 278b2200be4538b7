"""Run a real Ray cluster of several nodes on this machine: each is a `ray start --block` with its own address."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.processes import LIMIT, below

RAY = (sys.executable, "-m", "ray.scripts.scripts")


@dataclass
class Node:
    """Represents a node of the cluster: the process `ray start --block` and the log of its output."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def workers(self, task: str) -> list[psutil.Process]:
        """Return the node's workers that are busy with a task whose name starts with `task`."""
        return below(self.process.pid, lambda child: "".join(child.cmdline()[:1]).startswith(f"ray::{task}"))

    def kill(self) -> None:
        """Kill everything that runs on the node, as when its power fails."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            # This is done twice, since a process may have started others before it was killed.
            for _ in range(2):
                for process in below(self.process.pid, lambda _: True):
                    with suppress(psutil.Error):
                        process.kill()
            self.process.kill()
        self.process.wait()


class Nodes:
    """Runs a head without CPUs, and the nodes that join it.

    The cluster asks for a token; processes that use it need the variables in `environment`. more: further environment
    variables of every node.
    """

    def __init__(self, **more: str):
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._more = {
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "4000",
            "RAY_health_check_failure_threshold": "2",
            **more,
        }
        # The folder has a short path, since it holds sockets, whose paths must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._all: list[Node] = []
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        self._start(
            ["--head", f"--port={port}", "--num-cpus=0", f"--temp-dir={self._folder}", "--include-dashboard=false"]
        )

    def join(self, cpus: int, *more: str, wrapper: Sequence[str] = (), **environment: str) -> Node:
        """Start another node and wait until it runs. wrapper: a command that starts it in a changed environment."""
        return self._start([f"--address={self.address}", f"--num-cpus={cpus}", *more], wrapper, environment)

    def kill_joined(self) -> None:
        """Kill all nodes but the head."""
        for node in self._all[1:]:
            node.kill()

    def close(self) -> None:
        """Kill all nodes and remove their files."""
        self.kill_joined()
        self._all[0].kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(
        self, arguments: Sequence[str], wrapper: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> Node:
        """Start a node and wait until it runs; once more where Ray's 30 s were too short for a busy machine."""
        for _ in range(2):
            node = self._launch(arguments, wrapper, environment or {})
            until = time.monotonic() + LIMIT
            while node.process.poll() is None and time.monotonic() < until:
                if b"Ray runtime started" in node.log.read_bytes():
                    self._all.append(node)
                    return node
                time.sleep(0.1)
            node.kill()
            if b"timed out during startup" not in node.log.read_bytes():
                break
        raise AssertionError(node.log.read_text())

    def _launch(self, arguments: Sequence[str], wrapper: Sequence[str], environment: Mapping[str, str]) -> Node:
        number = len(self._all) + 1
        log = self._folder / f"node{number}.log"
        address = f"--node-ip-address=127.0.0.{number}"
        ports = ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*wrapper, *RAY, "start", *arguments, address, *ports, "--block", "--object-store-memory=100000000"],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env=os.environ | self.environment | self._more | dict(environment),
            )
        return Node(process, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""This module checks what nodes of a cluster must have: shared storage, a free CPU, and a GPU if they claim one."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from s2vc.manifests.errors import UserError
from s2vc.pipeline.flow import choose_precision

GPU_LIMIT = 60.0
"""A node with a GPU has this many seconds to answer whether PyTorch finds it; if it is too busy, the first step finds
out."""


class StorageNotShared(OSError):
    """A node lacks a path that the other nodes have; no video is to blame, and the shard stays unfinished."""


def require(paths: Iterable[Path]) -> None:
    """Raise StorageNotShared if one of the paths is not there on this node."""
    for path in paths:
        if not os.path.exists(path):
            raise StorageNotShared(
                f"node {this_node()} has no {path}: cache and videos have to lie on storage that every node has, "
                "under the same path"
            )


def this_node() -> str:
    """Return the name and address of the node that this process runs on."""
    return f"{os.uname().nodename} ({ray.util.get_node_ip_address()})"


class StallReason:
    """This finds out why no step ends, by a probe: a task, submitted before all steps, that needs no more."""

    def __init__(self, gpu: bool):
        self._gpu = gpu
        self._last_reason = ""
        self._first = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0)(this_node).remote()

    def why(self) -> str:
        """Return the reason in a sentence; empty if steps do run, or if the last call gave the same reason."""
        reason = self._reason()
        new, self._last_reason = reason != self._last_reason, reason
        return reason if new else ""

    def _reason(self) -> str:
        what = "a CPU and a GPU" if self._gpu else "a CPU"
        if not any(_has(node, "CPU") and (not self._gpu or _has(node, "GPU")) for node in _alive()):
            return f"no node of the cluster has {what} to work with; waiting for one to join (ray start --address=…)"
        if not ray.wait([self._first], timeout=0)[0]:
            return f"every node that has {what} is busy with other work; waiting for it"
        return ""


def refuse_unusable_gpus() -> None:
    """Raise UserError if a node was started with a GPU and PyTorch finds none on it."""
    found = ray.remote(num_cpus=0, num_gpus=1, max_retries=0)(_gpu_found)
    asked = []
    for node in _alive():
        if _has(node, "GPU"):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(found.options(scheduling_strategy=there).remote())
    answers, _ = ray.wait(asked, num_returns=len(asked), timeout=GPU_LIMIT) if asked else ([], [])
    for name, usable in ray.get(answers):
        if not usable:
            raise UserError(
                f"node {name} was started with a GPU, and PyTorch finds none there: install PyTorch's CUDA build on "
                "it, or start it with --num-gpus=0"
            )


def flow_precision(precision: str, device: str) -> str:
    """Return the precision to encode in on the cluster's device; "auto" asks a worker that has a GPU.

    If this process asked a GPU of its own, it would hold some of its memory to the end.

    Raises UserError if no such worker answers.
    """
    if precision != "auto" or device == "cpu":
        return choose_precision(precision, device)
    choose: Any = ray.remote(num_cpus=0, num_gpus=1)(choose_precision)
    try:
        return str(ray.get(choose.remote(precision, device), timeout=GPU_LIMIT))
    except ray.exceptions.GetTimeoutError:
        raise UserError("the cluster's GPUs are busy, so that auto cannot choose: give a --precision") from None


def _gpu_found() -> tuple[str, bool]:
    return this_node(), torch.cuda.is_available()


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _has(node: dict[str, Any], resource: str) -> bool:
    return node["Resources"].get(resource, 0) >= 1

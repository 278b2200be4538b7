"""The real command on a Ray cluster of real nodes: disturbed as clusters are, it ends in the bytes of a quiet run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cluster.connection import MEMORY_RETRIES
from tests.support.hashes import tree
from tests.support.nodes import Node, Nodes
from tests.support.processes import Job, end, run, start, wait_for
from tests.support.reference_run import SHARDS, encode_command, render_command

ROOT = Path(__file__).parents[2]
ATTEMPTS = {"encode": "latents.zarr/*.attempt-*", "render": "motion/*/*.attempt-*"}
"""What a step writes at while it runs; the process that does is named in it."""


@pytest.fixture(scope="module")
def head() -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def nodes(head: Nodes) -> Iterator[Nodes]:
    """A cluster that nothing has joined yet."""
    yield head
    head.kill_joined()


def on(nodes: Nodes, command: list[object], cwd: Path | None = None, **environment: str) -> Job:
    """The command, started on the cluster."""
    return start([*command, "--ray-address", nodes.address], nodes.environment | environment, cwd=cwd)


def encoded(cache: Path) -> dict[str, str]:
    """The tree of a cache but for what was rendered."""
    return {path: digest for path, digest in tree(cache).items() if "motion/" not in path}


def busy(node: Node, out: Path, stage: str) -> list[psutil.Process]:
    """The workers of a node that are in the middle of writing a shard."""
    writers = {int(path.name.rsplit("-", 2)[1]) for path in out.glob(ATTEMPTS[stage])}
    return [worker for worker in node.workers(stage) if worker.pid in writers]


def ends_well(job: Job) -> None:
    code, said = end(job)
    assert code == 0 and "Traceback" not in said


def said_by(job: Job, words: str) -> None:
    """Waits until the command says this."""
    assert job.stdout is not None
    for line in job.stdout:
        sys.stdout.buffer.write(line)
        if words.encode() in line:
            return
    raise AssertionError(f"it ended without a word of: {words}")


def test_all_nodes_work_and_relative_paths_mean_the_drivers(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    both = [nodes.join(1), nodes.join(2)]
    relative = Path(os.path.relpath(folder, tmp_path))
    worked: set[tuple[int, str]] = set()
    for command in (encode_command(relative, Path("cache"), 3), render_command(Path("cache"), 3)):
        job = on(nodes, command, tmp_path)
        while job.poll() is None:
            for stage in ("ingest", "encode", "render"):
                worked |= {(n, stage) for n, node in enumerate(both) if node.workers(stage)}
            time.sleep(0.02)
        ends_well(job)
    assert {n for n, _ in worked} == {0, 1} and {stage for _, stage in worked} == {"ingest", "encode", "render"}
    assert tree(tmp_path / "cache") == tree(folder / "quiet")


@pytest.mark.slow
def test_nodes_die_in_the_middle(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    first, second = nodes.join(1), nodes.join(1)
    job = on(nodes, encode_command(folder, out))
    wait_for(lambda: busy(second, out, "encode"), job)
    second.kill()
    ends_well(job)
    third = nodes.join(2)
    job = on(nodes, render_command(out))
    dying = wait_for(lambda: [node for node in (first, third) if busy(node, out, "render")], job)
    assert isinstance(dying, list)
    dying[0].kill()
    ends_well(job)
    assert tree(out) == tree(folder / "quiet")


@pytest.mark.slow
def test_a_driver_is_killed_and_started_again_on_the_same_cluster(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    node = nodes.join(2)
    for command, stage in ((encode_command(folder, out), "encode"), (render_command(out), "render")):
        job = on(nodes, command)
        wait_for(lambda: busy(node, out, stage), job)  # noqa: B023
        job.send_signal(signal.SIGKILL)
        job.communicate()
        assert len(list(out.glob(f"receipts/{'motion/*' if stage == 'render' else stage}/*.json"))) < SHARDS
        ends_well(on(nodes, command))
    assert tree(out) == tree(folder / "quiet")


# A node whose memory is always too full: Ray's own monitor, which looks ten times a second, kills what runs on it.
FULL = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}


@pytest.mark.slow
def test_workers_killed_for_memory_are_tried_again_on_a_node_that_joins(
    folder: Path, nodes: Nodes, tmp_path: Path
) -> None:
    out = tmp_path / "cache"
    full = nodes.join(1, **FULL)
    job = on(nodes, encode_command(folder, out))
    said_by(job, f"There are {MEMORY_RETRIES} oom retries remaining")  # left to itself, Ray says "infinite"
    nodes.join(2)
    full.kill()
    ends_well(job)
    assert encoded(out) == encoded(folder / "quiet")


@pytest.mark.slow
def test_where_memory_never_suffices_the_job_ends_and_blames_no_video(
    folder: Path, nodes: Nodes, tmp_path: Path
) -> None:
    out = tmp_path / "cache"
    nodes.join(1, **FULL)
    code, said = end(on(nodes, encode_command(folder, out), RAY_task_oom_retries="1"))
    assert code == 1
    assert "shard 0 is not done: ingest: memory ran out on its node every time" in said
    assert "run the same command again" in said and "Traceback" not in said
    assert set(Cache(out).index["status"]) == {""}
    assert run(encode_command(folder, out))[0] == 0
    assert encoded(out) == encoded(folder / "quiet")


def hiding(folder: Path) -> list[str]:
    """A command in front of another, to which the folder is empty; skips the test where that is not permitted."""
    wrapper = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*wrapper, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace of its own for a node, which is not permitted here")
    return wrapper


@pytest.mark.slow
def test_a_node_without_the_storage_is_named_and_no_video_blamed(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    share = tmp_path / "share"
    shutil.copytree(folder / "videos", share / "videos")
    nodes.join(1, wrapper=hiding(share))
    for out, root, missing in (
        (tmp_path / "cache", share / "videos", share / "videos" / "0.mp4"),
        (share / "cache", folder / "videos", share / "cache" / "cache.json"),
    ):
        code, said = end(on(nodes, encode_command(folder, out, root=root)))
        assert code == 1 and "Traceback" not in said
        assert f"has no {missing}: cache and videos have to lie on storage that every node has" in said
        assert set(Cache(out).index["status"]) == {""}
    assert run(encode_command(folder, share / "cache"))[0] == 0
    assert encoded(share / "cache") == encoded(folder / "quiet")


HOG = """
import os, sys, time, ray
ray.init(sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
class Hog:
    def holds(self): return True
hog = Hog.remote()
print(ray.get(hog.holds.remote()), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_cluster_that_cannot_work_yet_says_why(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    job = on(nodes, encode_command(folder, tmp_path / "cache"))
    said_by(job, "no node of the cluster has a CPU to work with; waiting for one to join")
    nodes.join(1)
    ends_well(job)
    command = [sys.executable, "-c", HOG, nodes.address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | nodes.environment, **pipes) as hog:
        assert hog.stdout is not None and b"True" in hog.stdout.readline()
        job = on(nodes, render_command(tmp_path / "cache"))
        said_by(job, "every node that has a CPU is busy with other work; waiting for it")
        hog.communicate(b"")
    ends_well(job)
    assert tree(tmp_path / "cache") == tree(folder / "quiet")


@pytest.mark.slow
def test_a_cluster_that_wants_a_token_tells_a_driver_without(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    without = {"RAY_AUTH_TOKEN": "", "HOME": str(tmp_path)}
    for mode in ("disabled", "token"):
        code, said = end(on(nodes, encode_command(folder, tmp_path / "cache"), RAY_AUTH_MODE=mode, **without))
        assert code == 2 and "Traceback" not in said
        assert "wants its token: set RAY_AUTH_MODE=token" in said.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_gpus_in_name_only_are_refused(folder: Path, nodes: Nodes, tmp_path: Path) -> None:
    nodes.join(2, "--num-gpus=1")
    code, said = end(on(nodes, encode_command(folder, tmp_path / "cache")))
    assert code == 2
    assert "was started with a GPU, and PyTorch finds none there" in said and said.count("\n") == 1


STEPS = """
import ray
from collections import deque
from s2vc.pipeline.cluster.scheduler import Step, run_chains
from tests.robustness.test_cluster import device_of
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
chains = [deque([Step("ingest", n, device_of, (n,)), Step("encode", n, device_of, (n,), gpu=True)]) for n in range(4)]
ended = []
outcome = run_chains(chains, None, lambda step, result: ended.append((step.shard, step.stage, result)))
print(sorted(ended), outcome.unfinished)
"""


def device_of(shard: int) -> bool:
    """A step that says whether Ray gave it a GPU."""
    import ray

    return bool(ray.get_gpu_ids())


@pytest.mark.slow
def test_stages_on_cpus_and_on_a_gpu_fit_a_machine_of_two_cores() -> None:
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, timeout=120, cwd=ROOT)
    expected = sorted((n, stage, stage == "encode") for n in range(4) for stage in ("ingest", "encode"))
    assert done.stdout.strip() == f"{expected} {{}}", done.stderr

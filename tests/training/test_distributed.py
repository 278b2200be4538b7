"""Several processes under Ray Train: the gradients of one with the doubled batch, and a run that survives a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from s2vc.training.gradients import add_gradients
from s2vc.training.moco import MoCo
from s2vc.training.regimes import REGIMES
from s2vc.training.run_folder import RunFolder, read_metrics
from s2vc.training.schedule import learning_rate
from s2vc.training.settings import TrainingSettings, merge_settings
from tests.support.processes import below

LIMIT = 300.0
BATCH = 4
QUEUES = (6, 0)
"""Keys kept; 0: negatives from the batch."""
EPOCHS = 16


def small_moco(queue: int, groups: int = 1) -> MoCo:
    """MoCo over a backbone of two layers, batch norm in evaluation mode."""

    class Backbone(nn.Sequential):
        feature_size = 5

    torch.manual_seed(0)
    backbone = Backbone(nn.Conv3d(3, 5, 3), nn.BatchNorm3d(5), nn.ReLU())
    return MoCo(backbone, dim=7, queue=queue, groups=groups).eval()


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    query, key = torch.randn(2, BATCH, 3, 4, 6, 6, generator=generator)
    return query, key


def gradients(model: nn.Module, query: torch.Tensor, key: torch.Tensor) -> dict[str, torch.Tensor]:
    logits, targets, _ = model(query, key)
    functional.cross_entropy(logits, targets).backward()
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    return {name: p.grad.clone() for name, p in inner.named_parameters() if p.grad is not None}


def half(config: dict[str, Any]) -> None:
    """What each of the two workers does: its half of the batch, in the model that Ray's process group averages."""
    from torch import distributed

    rank = distributed.get_rank()
    mine = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    query, key = pairs()
    for queue in QUEUES:
        model = small_moco(queue)
        found = gradients(DistributedDataParallel(model), query[mine], key[mine])
        torch.save((found, model.queue), Path(config["folder"]) / f"{queue}-{rank}.pt")
        model = small_moco(queue, groups=2)
        wrapped, in_parts = DistributedDataParallel(model), TrainingSettings(accumulate=2, precision="float32")
        add_gradients(wrapped, (query[mine], key[mine]), in_parts, GradScaler("cpu", enabled=False))
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save((found, model.queue), Path(config["folder"]) / f"{queue}-{rank}-parts.pt")


def train_halves(folder: str) -> None:
    """Both workers, on a Ray of this process's own."""
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from s2vc.pipeline.cluster.connection import cluster

    with cluster(None, 2):
        TorchTrainer(
            half,
            train_loop_config={"folder": folder},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(name="ray", storage_path=folder),
        ).fit()


def test_two_ray_workers_have_the_gradients_of_one_process_with_both_halves(tmp_path: Path) -> None:
    # In a process of its own: after a run of Ray Train, a driver that has forked hangs in ray.shutdown.
    code = f"from tests.training.test_distributed import train_halves; train_halves({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT, cwd=Path(__file__).parents[2])
    for size in QUEUES:
        alone = small_moco(size)
        expected = gradients(alone, *pairs())
        for name in ("0", "1", "0-parts", "1-parts"):
            found, queue = torch.load(tmp_path / f"{size}-{name}.pt")
            assert found.keys() == expected.keys()
            for name, gradient in expected.items():
                torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)
            if size:
                torch.testing.assert_close(queue, alone.queue, atol=1e-6, rtol=1e-4)


def command(cache: Path, out: Path) -> list[str]:
    arguments = [
        cache, "--split", "all", "--batch", 4, "--size", 32, "--clip-length", 8, "--backbone", "s3d", "--alpha", 0.5,
        "--loader-workers", 0, "--epochs", EPOCHS, "--checkpoint-minutes", 0, "--workers", 2, "--out", out,
    ]  # fmt: skip
    return [sys.executable, "-m", "s2vc.training.cli", *map(str, arguments)]


def trainers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The worker processes of Ray Train below a command, busy with the training function."""
    return below(process.pid, lambda child: "TrainWorker" in "".join(child.cmdline()))


def start(cache: Path, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(cache, out),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def wait(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_survives_a_killed_worker_and_an_interrupt(cache_path: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    process = start(cache_path, run.root)
    wait(process, lambda: run.checkpoint.exists() and len(read_metrics(run.metrics)) > 0)
    victims = trainers(process)
    assert len(victims) == 2
    os.kill(victims[1].pid, signal.SIGKILL)
    wait(process, lambda: len(trainers(process)) == 2 and not {*trainers(process)} & {*victims})
    before = len(read_metrics(run.metrics))
    wait(process, lambda: len(read_metrics(run.metrics)) > before)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, output
    assert "run the same command again" in output and "Traceback" not in output
    done = torch.load(run.checkpoint, weights_only=True)["position"]["total"]
    assert before < done < EPOCHS
    process = start(cache_path, run.root)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    records = read_metrics(run.metrics)
    assert [r.step for r in records] == list(range(1, EPOCHS + 1))
    settings = merge_settings(REGIMES["small"], {"alpha": [0.5], "epochs": EPOCHS})
    assert [r.lr for r in records] == pytest.approx([learning_rate(settings, 1, n) for n in range(EPOCHS)])
    position = torch.load(run.checkpoint, weights_only=True)["position"]
    assert position == {"epoch": EPOCHS, "step": 0, "total": EPOCHS}

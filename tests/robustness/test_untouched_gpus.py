"""A command whose workers compute on GPUs uses none itself: it would hold some hundred MB of it to the end.

The machine pretends to have a GPU; whatever uses it, beyond counting, raises an error.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from s2vc.pipeline.cli import fit_flow, fit_session
from s2vc.pipeline.flow.architecture import Architecture
from s2vc.pipeline.flow.checkpoints import choose_dtype
from s2vc.pipeline.flow_fitting.fit import Fit, FitFolder
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings
from s2vc.training.prepare import prepare_run

CUDA = torch.device("cuda")

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


@pytest.fixture(autouse=True)
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def used() -> None:
        raise AssertionError("the GPU was used")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", used)


PRECISION = """
import ray, torch
from s2vc.pipeline.cluster.nodes import flow_precision

def used():
    raise AssertionError("the GPU was used")

torch.cuda.is_available, torch.cuda.device_count, torch.cuda._lazy_init = lambda: True, lambda: 1, used
ray.init("local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
print(flow_precision("auto", "cuda"))
"""


def test_encode_asks_a_worker_for_the_precision() -> None:
    """The worker does not pretend, and says what it finds. In a process of its own, since this one may have a Ray."""
    done = subprocess.run([sys.executable, "-c", PRECISION], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "float32", done.stderr


def test_training_tries_flow_and_weights_on_the_cpu(cache_path: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"cache": str(cache_path), "method": "s2vc-online", "alpha": [0.5], "split": "all"}
    small = {"batch": 4, "size": 32, "clip_length": 8, "backbone": "s3d", "workers": 2}
    run = prepare_run([{**settings, **small}], tmp_path / "run", CUDA)
    assert run.settings.workers == 2 and not torch.cuda.is_initialized()


def test_fitting_begins_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(fit_session, "fit_on_ray", lambda *all_of_it: given.append(all_of_it))
    fit = Fit(FitSettings(steps=1, batch=2, precision="float32"), Architecture(2, 2, 1, 1, 1), "", "")
    images, folder = torch.zeros(4, 3, 64, 64, dtype=torch.uint8), FitFolder(tmp_path / "flow.safetensors")
    fit_session.run_fit_with_progress(fit, images, images, folder, CUDA, 2, None, Console(), False)
    assert len(given) == 1


def test_fitting_asks_a_passing_process_for_the_dtype() -> None:
    ask: Callable[..., str] = choose_dtype
    assert fit_flow._apart(CUDA, 2, ask, "auto", CUDA) == "float32"
    with pytest.raises(AssertionError, match="the GPU was used"):
        fit_flow._apart(CUDA, 0, ask, "auto", CUDA)

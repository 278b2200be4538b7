"""On a GPU: what a CPU computes in float32, with no TF32 in the flow, and out of too little memory."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from s2vc.pipeline.flow import load_flow
from s2vc.pipeline.stages.adaptive_batches import AdaptiveBatches
from s2vc.training.backbones import build_backbone
from s2vc.training.moco import MoCo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; tests/gpu/run asks it all"),
]

GPU = torch.device("cuda")
FRAMES = 64


def images(count: int = FRAMES) -> torch.Tensor:
    """Smooth images, as frames are: noise of 8x8 pixels enlarged, (count, 3, 64, 64) in 0 to 1."""
    small = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(small, size=64, mode="bilinear")


def test_the_flow_in_float32_is_that_of_the_cpu() -> None:
    x = images()
    flows = {device: load_flow("default", device, "float32") for device in ("cpu", "cuda")}
    z = {device: flow.encode(x.to(device))[0] for device, flow in flows.items()}
    back = flows["cuda"].decode(z["cuda"])
    # TF32 keeps 10 bits of a mantissa: with it z is off by 1e-3 and more.
    torch.testing.assert_close(z["cuda"].cpu(), z["cpu"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back.cpu(), x, atol=1e-4, rtol=0)


def test_a_process_that_chooses_a_gpu_for_others_holds_none_of_it() -> None:
    chosen = "from s2vc.pipeline.device import choose_device; print(choose_device('cuda'))"
    script = f"{chosen}; import torch; print(torch.cuda.is_initialized())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cuda", "False"]


def test_one_gpu_is_all_that_the_workers_of_a_job_see() -> None:
    last = torch.cuda.device_count() - 1
    script = f"""
import os, ray
from s2vc.pipeline.cluster.connection import cluster, flow_device, gpus
before = os.environ.get("CUDA_VISIBLE_DEVICES")
with cluster(None, 1, "cuda:{last}"):
    print(flow_device("cuda:{last}"), gpus())
assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cuda", "1"]


def test_a_batch_that_memory_is_too_small_for_is_halved() -> None:
    flow, x = load_flow("default", GPU, "float32"), images(512).to(GPU)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    expected = flow.encode(x)[0]
    needed = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    batches = AdaptiveBatches(GPU)
    try:
        # The fraction counts what the allocator reserves, and not the context of CUDA itself. At half of what a batch
        # needs cuDNN may still find algorithms that take less.
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 0.25 * needed) / total)
        found = batches.map(lambda part: flow.encode(part)[0], x)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert batches.size < batches.wanted == 512
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_step_of_moco_has_the_loss_and_gradients_of_the_cpu(symmetric: bool) -> None:
    clips = torch.rand(2, 4, 3, 8, 64, 64, generator=torch.Generator().manual_seed(1))
    found = []
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        for device in ("cpu", "cuda"):
            torch.manual_seed(0)
            model = MoCo(build_backbone("r3d18"), queue=0, symmetric=symmetric).to(device)
            logits, targets, _ = model(*clips.to(device))
            loss = functional.cross_entropy(logits, targets)
            loss.backward()
            found.append((loss.item(), model.encoder_q[2].weight.grad.cpu()))
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-3)
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-4, rtol=2e-2)

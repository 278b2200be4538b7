"""Say where the time of a batch of the flow goes, by torch.profiler: is it matrix products, or element by element?"""

from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from s2vc.pipeline.flow.checkpoints import choose_precision
from tests.gpu.flow_speed import FLOWS, WARM, frames
from tests.gpu.parts import Place, Question

TOP = 15

KINDS = {
    "other layouts": ("nchwtonhwc", "nhwctonchw", "transpose", "permute"),
    "element by element": ("elementwise", "catarray", "copy", "index", "gather", "scatter", "reduce", "fill", "triton"),
    "matrix products and convolutions": (
        "gemm", "conv", "cutlass", "cudnn", "xmma", "wgmma", "sm80_", "sm90_", "addmm", "nvjet", "winograd", "dgrad",
    ),
}  # fmt: skip
"""The kinds of kernels, by what their names hold, the first that fits; all but matrix products is what a fused kernel
would save."""


def flow_profile(place: Place) -> dict[str, Question]:
    """Ask for the top kernels of one batch of encode, by flow, and the share of each kind."""
    return {f"{name}, encode": partial(profiled, place, name) for name in FLOWS}


@torch.no_grad()
def profiled(place: Place, name: str) -> dict[str, Any]:
    """Return the time on the device of one batch, the share of each kind of kernel, and the kernels that take most."""
    flow = FLOWS[name]().for_inference(place.device, choose_precision("auto", place.device))
    x = frames(2 if place.tiny else 512, place)
    for _ in range(WARM):
        flow.encode(x)
    activities = [ProfilerActivity.CUDA] if place.on_gpu else [ProfilerActivity.CPU]
    if place.on_gpu:
        torch.cuda.synchronize()
    with profile(activities=activities) as profiler:
        flow.encode(x)
        if place.on_gpu:
            torch.cuda.synchronize()
    kernels = [
        {"kernel": e.key[:120], "ms": (e.self_device_time_total if place.on_gpu else e.self_cpu_time_total) / 1e3,
         "calls": e.count}
        for e in profiler.key_averages()
    ]  # fmt: skip
    return summary(kernels)


def summary(kernels: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of kernels' ms, the share of each kind, and the TOP kernels."""
    total = sum(k["ms"] for k in kernels)
    shares = dict.fromkeys([*KINDS, "other"], 0.0)
    for kernel in kernels:
        shares[kind_of(kernel["kernel"])] += kernel["ms"] / total if total else 0.0
    top = sorted(kernels, key=lambda k: -k["ms"])[:TOP]
    return {"ms": total, "share": shares, "top": top}


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel by its name, "other" where it says nothing."""
    name = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")

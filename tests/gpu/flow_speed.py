"""Measure the flow on a device: frames/s by batch, as a share of what its matrix products reach."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from s2vc.pipeline.flow import Architecture, Flow, load_flow
from s2vc.pipeline.flow.checkpoints import choose_precision
from tests.gpu.parts import Place

REPEATS = 5


def median_seconds(function: Callable[[], Any], device: str) -> float:
    """Return the median time of a call, after two that are not counted; work on a GPU is waited for."""

    def once() -> float:
        wait(device)
        started = time.perf_counter()
        function()
        wait(device)
        return time.perf_counter() - started

    return statistics.median([once() for _ in range(2 + REPEATS)][2:])


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def matrix_rate(place: Place) -> float:
    """Return the floating-point operations a second that a large matrix product in bfloat16 reaches."""
    side = 8192 if place.on_gpu else 256
    a, b = (torch.randn(side, side, device=place.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda: a @ b, place.device)


FLOWS: dict[str, Callable[[], Flow]] = {
    "built-in": lambda: load_flow("default"),
    "published": lambda: Flow(Architecture()),
}
"""Each makes a flow anew, since a precision that is chosen rounds weights for good. The random weights of the published
architecture do not change its speed."""


def operations(flow: Flow) -> float:
    """Return the floating-point operations that encoding a frame takes."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        flow.forward(torch.zeros(1, 3, 64, 64))
    return float(counter.get_total_flops())


@torch.no_grad()
def flow_speed(place: Place) -> dict[str, Any]:
    """Return frames/s of encode and decode by flow, precision and batch, and the share of the matrix rate."""
    rate = matrix_rate(place)
    found: dict[str, Any] = {"bfloat16 matrix product, TFLOP/s": rate / 1e12}
    auto = choose_precision("auto", place.device)
    for name, new_flow in FLOWS.items():
        work = operations(new_flow())
        found[f"{name}: GFLOP a frame"] = work / 1e9
        for precision in (auto, "float32"):
            flow = new_flow().for_inference(place.device, precision)
            for batch in (2,) if place.tiny else (32, 128, 512):
                x = torch.rand(batch, 3, 64, 64, device=place.device)
                z = flow.encode(x)[0]
                runs: dict[str, Callable[[], Any]] = {
                    "encode": lambda flow=flow, x=x: flow.encode(x),
                    "decode": lambda flow=flow, z=z: flow.decode(z),
                }
                for direction, run in runs.items():
                    frames = batch / median_seconds(run, place.device)
                    entry = {"frames/s": frames, "share of the matrix rate": frames * work / rate}
                    found[f"{name}, {precision}, batch {batch}, {direction}"] = entry
    return found


@torch.no_grad()
def compiled_flow(place: Place) -> dict[str, Any]:
    """Return the same of the built-in and the published flow under torch.compile, with and without CUDA graphs, and
    how far z is from eager."""
    found: dict[str, Any] = {}
    precision = choose_precision("auto", place.device)
    batch = 2 if place.tiny else 256
    for name, new_flow in FLOWS.items():
        flow = new_flow().for_inference(place.device, precision)
        x = torch.rand(batch, 3, 64, 64, device=place.device)
        eager = flow.encode(x)[0]
        found[f"{name}, eager"] = batch / median_seconds(lambda flow=flow, x=x: flow.encode(x), place.device)
        for mode in ("default", "max-autotune") if place.on_gpu else ("default",):
            found[f"{name}, {mode}"] = _compiled(flow, x, eager, mode, place)
    return found


def _compiled(flow: Flow, x: Tensor, eager: Tensor, mode: str, place: Place) -> dict[str, float]:
    started = time.perf_counter()
    encode = torch.compile(flow.encode, mode=mode)
    off = float((encode(x)[0] - eager).square().mean().sqrt())
    compiling = time.perf_counter() - started
    frames = len(x) / median_seconds(lambda: encode(x), place.device)
    return {"frames/s": frames, "seconds to compile": compiling, "z off eager, rms": off}

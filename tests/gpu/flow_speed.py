"""Measure the flow on a device: frames/s by batch, as a share of what its matrix products reach."""

import functools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from s2vc.pipeline.flow import Architecture, Flow, load_flow
from s2vc.pipeline.flow.checkpoints import choose_precision
from tests.gpu.parts import Place, Question

REPEATS, WARM = 5, 3
"""So many calls are counted, after so many that are not: cuDNN chooses, torch.compile records its CUDA graphs."""

FLOWS: dict[str, Callable[[], Flow]] = {
    "built-in": lambda: load_flow("default"),
    "published": lambda: Flow(Architecture()),
}
"""Each makes a flow anew, since a precision that is chosen rounds weights for good. The random weights of the published
architecture do not change its speed."""


def median_seconds(function: Callable[[], Any], device: str) -> float:
    """Return the median time of a call, after those that warm up; work on a GPU is waited for."""

    def once() -> float:
        wait(device)
        started = time.perf_counter()
        function()
        wait(device)
        return time.perf_counter() - started

    return statistics.median([once() for _ in range(WARM + REPEATS)][WARM:])


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


@functools.cache
def matrix_rate(place: Place) -> float:
    """Return the floating-point operations a second that a large matrix product in bfloat16 reaches."""
    side = 8192 if place.on_gpu else 256
    a, b = (torch.randn(side, side, device=place.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / median_seconds(lambda: a @ b, place.device)


@functools.cache
def operations(name: str) -> float:
    """Return the floating-point operations that one of the FLOWS takes to encode a frame."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        FLOWS[name]().forward(torch.zeros(1, 3, 64, 64))
    return float(counter.get_total_flops())


def frames(count: int, place: Place) -> Tensor:
    """Draw frames (count, 3, 64, 64) float32 in 0 to 1."""
    return torch.rand(count, 3, 64, 64, device=place.device)


def rate(count: int, seconds: float, name: str, place: Place) -> dict[str, float]:
    """Return what a call reaches that takes so many frames through one of the FLOWS."""
    reached = count / seconds
    return {"frames/s": reached, "share of the matrix rate": reached * operations(name) / matrix_rate(place)}


def flow_speed(place: Place) -> dict[str, Question]:
    """Ask for frames/s of encode and decode by flow, precision and batch, and the share of the matrix rate."""
    questions: dict[str, Question] = {"bfloat16 matrix product, TFLOP/s": lambda: matrix_rate(place) / 1e12}
    auto = choose_precision("auto", place.device)
    for batch in (2,) if place.tiny else (512, 128, 32):
        for precision in dict.fromkeys((auto, "float32")):
            for name in FLOWS:
                asked = partial(measured, place, name, precision, batch)
                questions[f"{name}, {precision}, batch {batch}"] = asked
    return questions


@torch.no_grad()
def measured(place: Place, name: str, precision: str, batch: int) -> dict[str, Any]:
    flow = FLOWS[name]().for_inference(place.device, precision)
    x = frames(batch, place)
    z = flow.encode(x)[0]
    return {
        "GFLOP a frame": operations(name) / 1e9,
        "encode": rate(batch, median_seconds(lambda: flow.encode(x), place.device), name, place),
        "decode": rate(batch, median_seconds(lambda: flow.decode(z), place.device), name, place),
    }


def compiled_flow(place: Place) -> dict[str, Question]:
    """Ask for encode's rate of both flows as it is, in a CUDA graph, under torch.compile, and under both, and how far z
    is off eager."""
    modes = ("default", "reduce-overhead", "max-autotune") if place.on_gpu else ("default",)
    questions: dict[str, Question] = {}
    for name in FLOWS:
        questions[f"{name}, eager"] = partial(faster, place, name, lambda flow, x: flow.forward)
        if place.on_gpu:
            questions[f"{name}, CUDA graph"] = partial(faster, place, name, captured)
    for mode in modes:
        for name in FLOWS:
            questions[f"{name}, torch.compile {mode}"] = partial(faster, place, name, partial(compiled, mode=mode))
    return questions


Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


@torch.no_grad()
def faster(place: Place, name: str, change: Callable[[Flow, Tensor], Encode]) -> dict[str, float]:
    """Measure a flow whose forward pass was changed; what it takes to compile is apart, and the rate is of warm
    calls."""
    flow = FLOWS[name]().for_inference(place.device, choose_precision("auto", place.device))
    x = frames(2 if place.tiny else 256, place)
    eager = flow.forward(x)[0]
    started = time.perf_counter()
    encode = change(flow, x)
    z = encode(x)[0].clone()
    wait(place.device)
    spent = time.perf_counter() - started
    reached = rate(len(x), median_seconds(lambda: encode(x), place.device), name, place)
    return {**reached, "seconds to prepare": spent, "z off eager, rms": float((z - eager).square().mean().sqrt())}


def compiled(flow: Flow, x: Tensor, mode: str) -> Encode:
    torch._dynamo.reset()
    return torch.compile(flow.forward, mode=mode)


def captured(flow: Flow, x: Tensor) -> Encode:
    """Record the launches of a forward pass of x, which are repeated without Python."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM):
            flow.forward(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        z, log_det = flow.forward(x)

    def replay(x: Tensor) -> tuple[Tensor, Tensor]:
        graph.replay()
        return z, log_det

    return replay

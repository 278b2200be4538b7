"""Compare the flow's speed with FrEIA's blocks, and measure the round-trip error of the built-in weights.

python -m tests.benchmarks.flow [--frames 64] [--repeats 5]
"""

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from FrEIA import framework, modules
from torch import Tensor, nn

from s2vc.pipeline.cache.frames import pool_small
from s2vc.pipeline.flow import Architecture, Flow, load_flow, multiplies_bfloat16
from s2vc.pipeline.flow.architecture import SMALL, SMALL_FLOW
from s2vc.pipeline.flow.couplings import CLAMP, AffineCoupling, FixedConvolution
from s2vc.pipeline.flow.model import CPU_SLICE
from s2vc.pipeline.stages.encode_shard import as_images
from s2vc.pipeline.stages.video import decode_video
from s2vc.pipeline.storage.freed_memory import keep_freed_memory
from tests.benchmarks.measure import SIZE, alternate, print_machine, print_row, ratio, real_clips, scratch, seconds

FREIA_BATCHES = (8, 32)
GFLOP, SMALL_GFLOP = 14.2, 1.05
"""The published and the built-in architecture take this arithmetic for a frame, in either direction."""
FAST = multiplies_bfloat16("cpu")
FEW = 8
"""Where bfloat16 is emulated it is timed on this many frames only, since each takes seconds."""
AMX = torch.cpu._is_amx_tile_supported()
FASTER = "11x" if AMX else "11x on a CPU with AMX; none here"


def freia_flow(flow: Flow) -> nn.Module:
    """Build the flow's network from FrEIA's blocks, with the flow's weights."""
    a = flow.architecture

    def conv(i: int, o: int) -> nn.Module:
        h, act = a.hidden, partial(nn.LeakyReLU, 0.1)
        last = nn.Conv2d(h, o, 3, padding=1)
        return nn.Sequential(nn.Conv2d(i, h, 3, padding=1), act(), nn.Conv2d(h, h, 3, padding=1), act(), last)

    def full(i: int, o: int) -> nn.Module:
        w, act = a.width, nn.ReLU
        hidden = [nn.Linear(i, w), act(), nn.Linear(w, w), act(), nn.Linear(w, w), act()]
        return nn.Sequential(*hidden, nn.Linear(w, o))

    nodes = [framework.InputNode(3, 64, 64)]

    def add(module: type, **arguments: object) -> None:
        nodes.append(framework.Node(nodes[-1], module, arguments))

    def couple(subnet: Callable[[int, int], nn.Module], seed: int, split: float = 0.5) -> None:
        add(modules.GLOWCouplingBlock, subnet_constructor=subnet, clamp=CLAMP, split_len=split)
        add(modules.PermuteRandom, seed=seed)

    for k in range(a.high_blocks):
        couple(conv, k, split=1)  # by default FrEIA would split three channels into two and one
    add(modules.IRevNetDownsampling, legacy_backend=True)
    fixed = [m for m in flow.modules() if isinstance(m, FixedConvolution)]
    for k in range(a.low_blocks):
        add(modules.Fixed1x1Conv, M=fixed[k].M[:, :, 0, 0].T)
        couple(conv, k)
    add(modules.Flatten)
    split = framework.Node(nodes[-1], modules.Split, {"section_sizes": [3072, 9216]})
    nodes.append(split)
    deep = framework.Node(split.out0, modules.GLOWCouplingBlock, {"subnet_constructor": full, "clamp": CLAMP})
    nodes += [deep, framework.Node(deep, modules.PermuteRandom, {"seed": 0})]
    for k in range(1, a.deep_blocks):
        couple(full, k)
    joined = framework.Node([nodes[-1].out0, split.out1], modules.Concat, {})
    net = framework.GraphINN([*nodes, joined, framework.OutputNode(joined)])

    theirs = [m for m in net.modules() if isinstance(m, modules.GLOWCouplingBlock)]
    ours = [m for m in flow.modules() if isinstance(m, AffineCoupling)]
    for block, coupling in zip(theirs, ours, strict=True):
        for sequence, subnet in ((block.subnet1, coupling.s1), (block.subnet2, coupling.s2)):
            sequence.load_state_dict(dict(zip(sequence.state_dict(), subnet.state_dict().values(), strict=True)))
            # FrEIA does not divide by the clamp before it clamps, so its weights are divided here.
            for p in (sequence[-1].weight, sequence[-1].bias):
                p.data[: len(p) // 2] /= CLAMP
    return net.requires_grad_(False).eval()


def frames_of(clips: list[Path], count: int) -> Tensor:
    """Return X' of about `count` frames, taken from clips all over the list: (n, 3, 64, 64) float32."""
    small: list[np.ndarray] = []
    every = max(1, len(clips) // 16)
    for clip in clips[::every]:
        decode_video(clip, *SIZE, lambda frames: small.append(pool_small(frames[::8].copy())), 1)
    stacked = np.concatenate(small)
    return as_images(torch.from_numpy(stacked[:: max(1, len(stacked) // count)][:count]))


def against_freia(flow: Flow, x: Tensor, repeats: int) -> None:
    """Compare encoding in float32 and with bfloat16 subnets with FrEIA at its best batch size, all on all cores."""
    net = freia_flow(flow)
    ours = flow.for_inference("cpu", "float32")
    off = (net(x[:2])[0] - ours.encode(x[:2])[0]).abs().max()
    print(
        f"  the same weights in both: z differs by {off:.1g} at most; z itself reaches {net(x[:2])[0].abs().max():.2g}"
    )
    half = Flow(flow.architecture)
    half.load_state_dict(flow.state_dict())
    half.for_inference("cpu", "bfloat16")
    fewer = x if FAST else x[:FEW]
    functions: dict[str, Callable[[], object]] = {
        f"FrEIA, batches of {b}": partial(lambda b: [net(s) for s in x.split(b)], b) for b in FREIA_BATCHES
    }
    functions["ours, float32"] = lambda: ours.encode(x)
    for function in functions.values():
        function()
    if FAST:
        functions["ours, bfloat16 subnets"] = lambda: half.encode(x)
    times = alternate(functions, repeats)
    if not FAST:
        times["ours, bfloat16 subnets"] = [seconds(lambda: half.encode(fewer)) * len(x) / len(fewer)] * repeats
    best = min(statistics.median(t) for name, t in times.items() if "FrEIA" in name)
    theirs = next(t for t in times.values() if statistics.median(t) == best)
    targets = ["", "", "1.6x", FASTER]
    for (name, spent), target in zip(times.items(), targets, strict=True):
        print_row(name, f"{len(x) / statistics.median(spent):.1f} frames/s", ratio(theirs, spent), target)


def round_trip(x: Tensor, repeats: int) -> None:
    """Print the error of decode(encode(x)) and frames/s with the built-in weights, in float32 and bfloat16."""
    for precision, target in (("float32", "5e-5 rms"), ("bfloat16", "0.001 rms")):
        flow = load_flow("default", "cpu", precision)
        if precision == "bfloat16" and not FAST:
            x = x[:FEW]
        z = flow.encode(x)[0]
        error = (flow.decode(z) - x).abs()
        rms, worst = error.double().square().mean().sqrt(), error.max()
        print_row(f"round trip error, {precision}", f"{rms:.2g} rms, {worst:.2g} max", None, target)
        both: dict[str, Callable[[], object]] = {"encode": partial(flow.encode, x), "decode": partial(flow.decode, z)}
        for name, times in alternate(both, repeats if FAST or precision == "float32" else 1).items():
            print_row(f"{name}, {precision}", f"{len(x) / statistics.median(times):.1f} frames/s")


def against_largest_convolution(architecture: Architecture, gflop: float, x: Tensor, repeats: int) -> None:
    """Print the arithmetic per second of a flow with random weights as a share of what its largest convolution reaches
    by itself, in slices of as many frames, on one core."""
    x = x[: 2 * CPU_SLICE]
    for precision in ("float32", "bfloat16") if FAST else ("float32",):
        flow = Flow(architecture).for_inference("cpu", precision)
        layer = next(m for m in flow.modules() if isinstance(m, nn.Conv2d) and m.in_channels == m.out_channels)
        shape = (CPU_SLICE, layer.in_channels, SMALL, SMALL)
        hidden = torch.randn(shape, dtype=layer.weight.dtype).contiguous(memory_format=torch.channels_last)
        both: dict[str, Callable[[], object]] = {"flow": partial(flow.encode, x), "layer": partial(layer, hidden)}
        for function in both.values():
            function()
        times = {name: statistics.median(spent) for name, spent in alternate(both, repeats).items()}
        work = 2 * 9 * layer.in_channels**2 * SMALL**2 * CPU_SLICE / 1e9
        alone, whole = work / times["layer"], gflop * len(x) / times["flow"]
        print_row(f"{precision}, GFLOP/s of encode", f"{whole:.0f}, its largest layer {alone:.0f}", whole / alone)


def on_gpu(repeats: int) -> None:
    """Print the frames/s of the published architecture with bfloat16 subnets, and its arithmetic per second as a share
    of what a plain matrix product reaches."""
    flow = Flow().for_inference("cuda", "bfloat16")
    x = torch.rand(512, 3, 64, 64, device="cuda")
    z = flow.encode(x)[0]
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)

    def timed(function: Callable[[], object]) -> float:
        def synchronised() -> None:
            function()
            torch.cuda.synchronize()

        synchronised()
        return statistics.median(seconds(synchronised) for _ in range(repeats))

    matmul = 2 * 8192**3 / timed(lambda: a @ a) / 1e9
    print_row("matmul, bfloat16, 8192^3", f"{matmul / 1e3:.0f} TFLOP/s")
    for name, function in (("encode", partial(flow.encode, x)), ("decode", partial(flow.decode, z))):
        speed = len(x) / timed(function)
        print_row(f"{name}, {torch.cuda.get_device_name()}", f"{speed:.0f} frames/s", speed * GFLOP / matmul)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    print_machine()
    keep_freed_memory()
    with scratch() as folder, torch.inference_mode():
        x = frames_of(real_clips("interaction", folder), options.frames)
        print(f"published architecture, random weights, {len(x)} frames, {torch.get_num_threads()} threads")
        against_freia(Flow(Architecture()), x, options.repeats)
        print("built-in flow")
        round_trip(x, options.repeats)
        torch.set_num_threads(1)
        print("against the largest convolution alone, one core: published architecture, then the built-in one")
        against_largest_convolution(Architecture(), GFLOP, x, options.repeats)
        against_largest_convolution(SMALL_FLOW, SMALL_GFLOP, x, options.repeats)
        if torch.cuda.is_available():
            on_gpu(options.repeats)


if __name__ == "__main__":
    main()

"""Compare the images/s of a training step of the flow with the same step made of FrEIA's blocks.

python -m tests.benchmarks.fitting [--batch 64] [--repeats 5] [--device cpu]
"""

import argparse
import os
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from s2vc.pipeline.flow import Flow
from s2vc.pipeline.flow.architecture import SMALL_FLOW
from s2vc.pipeline.flow.likelihood import bits_from_latents, dequantised
from s2vc.pipeline.flow.model import new_flow
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings
from s2vc.pipeline.flow_fitting.fitting import CPU_SLICE, Fitting, learning_rate
from tests.benchmarks.flow import AMX, freia_flow
from tests.benchmarks.measure import alternate, print_machine, print_row, ratio


def images(count: int) -> Tensor:
    """Return smooth random images (count, 3, 64, 64) uint8; the speed does not depend on their contents."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    return nn.functional.interpolate(coarse, (64, 64), mode="bilinear").round().byte()


def freia_step(flow: Flow, settings: FitSettings, size: int, device: torch.device) -> Callable[[], Tensor]:
    """Return a step of the same loop with FrEIA's blocks in place of ours, in slices of `size` images."""
    net = freia_flow(flow).to(device).train()
    subnets = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weights = [p.requires_grad_(True) for subnet in subnets for p in subnet.parameters()]
    optimizer = torch.optim.Adam(weights, lr=learning_rate(settings, 0))
    data, generator = images(settings.batch).to(device), torch.Generator(device).manual_seed(0)

    def step() -> Tensor:
        x = dequantised(data, settings.noise, generator)
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        for part in x.split(size):
            bits = bits_from_latents(*net(part)).sum() / len(x)
            bits.backward()
            total += bits.detach()
        nn.utils.clip_grad_norm_(weights, settings.clip)
        optimizer.step()
        return total

    return step


def ours(flow: Flow, settings: FitSettings, device: torch.device) -> Callable[[], float]:
    """Return a step of our fit."""
    data = images(settings.batch)
    fitting = Fitting(flow, data, data[:2], settings, device)
    return lambda: fitting.next().bits


def fitted_flow() -> Flow:
    """Return a flow whose couplings are not the identity, so that no arithmetic is trivial."""
    flow = new_flow(SMALL_FLOW, seed=0)
    for p in flow.parameters():
        nn.init.normal_(p, std=0.02)
    return flow.for_inference("cpu", "float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    device = torch.device(options.device)
    print_machine()
    print(f"hidden 32, width 64; batches of {options.batch}; {torch.get_num_threads()} threads; {device}")
    settings = FitSettings(steps=10**6, batch=options.batch)
    sizes = sorted({options.batch, min(CPU_SLICE, options.batch)}, reverse=True)
    functions: dict[str, Callable[[], object]] = {
        f"FrEIA, {size} at once": freia_step(fitted_flow(), settings, size, device) for size in sizes
    }
    half = AMX or device.type == "cuda"
    for precision in ("float32", "bfloat16") if half else ("float32",):
        chosen = FitSettings(steps=10**6, batch=options.batch, precision=precision)
        functions[f"ours, {precision} subnets"] = ours(fitted_flow(), chosen, device)
    for function in functions.values():
        function()
    print_ratios(alternate(functions, options.repeats), options.batch)
    if not half:
        print("  bfloat16: target 3x on a CPU with AMX; no AMX here, not the case the target is for")


def print_ratios(times: dict[str, list[float]], batch: int) -> None:
    """Print the images/s of each function, and its ratio to the faster of FrEIA's."""
    theirs = min((t for name, t in times.items() if "FrEIA" in name), key=statistics.median)
    for name, spent in times.items():
        target = {"ours, float32 subnets": "1.3x", "ours, bfloat16 subnets": "3x on a CPU with AMX"}.get(name, "")
        print_row(name, f"{batch / statistics.median(spent):.1f} images/s", ratio(theirs, spent), target)


if __name__ == "__main__":
    main()

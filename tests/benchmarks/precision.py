"""Measure the errors of bfloat16 in latents, masks and rendered pixels of street clips, with some layers in float32.

python -m tests.benchmarks.precision [--clips 12] [--repeats 5]
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from s2vc.pipeline.cache.frames import pool_small
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.stages.encode_shard import as_images
from s2vc.pipeline.stages.video import decode_video
from s2vc.pipeline.static_cues import standard_deviation
from tests.benchmarks.measure import SIZE, alternate, print_machine, ratio, real_clips, scratch

WINDOW = 16
ALPHAS = (0.1, 0.3, 0.5, 0.8)
FIRST, LAST = ("conv1", "fc1"), ("conv3", "fc3")
TIMED = 32
"""Each timing encodes this many frames."""

LAYERS: dict[str, Callable[[str, str], bool]] = {
    "bfloat16, last layers float32": lambda part, name: name in LAST,
    "bfloat16, first layers float32": lambda part, name: name in FIRST,
    "bfloat16, first and last float32": lambda part, name: name in FIRST + LAST,
    "bfloat16, couplings at 64x64 float32": lambda part, name: part == "high",
    "bfloat16, couplings at 32x32 float32": lambda part, name: part == "low",
    "bfloat16, fully connected float32": lambda part, name: part == "deep",
}


def mixed(in_float32: Callable[[str, str], bool]) -> Flow:
    """Return the built-in flow with bfloat16 subnets, except for the layers for which in_float32 is true.

    in_float32: a function of the part of the flow and the layer's name.
    """
    flow = load_flow("default")
    for part in ("high", "low", "deep"):
        for path, layer in getattr(flow, part).named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(torch.float32 if in_float32(part, path.rsplit(".", 1)[-1]) else torch.bfloat16)
                layer.register_forward_pre_hook(lambda of, given: (given[0].to(of.weight.dtype),))
    return flow


def windows(count: int) -> Tensor:
    """Return X' of the first 16 frames of `count` street clips: (16 count, 3, 64, 64)."""
    found: list[np.ndarray] = []
    with scratch() as folder:
        clips = real_clips("street", folder)
        for clip in clips[:: max(1, len(clips) // count)][:count]:
            taken: list[np.ndarray] = []
            decode_video(clip, *SIZE, lambda frames, taken=taken: taken.append(pool_small(frames.copy())), 1)
            found.append(np.concatenate(taken)[:WINDOW])
    return as_images(torch.from_numpy(np.concatenate(found)))


def deviations(z: Tensor) -> Tensor:
    return torch.stack([standard_deviation(window) for window in z.split(WINDOW)])


def rendered(flow: Flow, z: Tensor, alpha: float) -> Tensor:
    """Return X_p of every window, in grey levels of 255."""
    kept = (deviations(z) >= alpha).repeat_interleave(WINDOW, 0)
    return flow.decode(z * kept) * 255


@dataclass(frozen=True)
class Exact:
    """Holds the frames x and the results of float32 for them."""

    x: Tensor
    z: Tensor
    std: Tensor
    x_p: Tensor


def compare(name: str, flow: Flow, exact: Exact, speed: str) -> None:
    """Print a row of the table, which compares a flow with the results of float32."""
    z = flow.encode(exact.x)[0]
    std = deviations(z)
    flipped = [(exact.std < a) != (std < a) for a in ALPHAS]
    kept = [float((exact.std >= a).double().mean()) for a in ALPHAS]
    change = (rendered(flow, z, 0.5) - exact.x_p).abs()
    shares = [float(f.double().mean()) for f in flipped]
    cells = [f"{s:.2%} ({s / k:.1%})" for s, k in zip(shares, kept, strict=True)]
    rms = float((z - exact.z).double().square().mean().sqrt())
    print(f"| {name} | {rms:.4f} | {' | '.join(cells)} | {change.mean():.2f}, {change.max():.0f} | {speed} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_machine()
    with torch.inference_mode():
        x = windows(options.clips)
        flows = {name: load_flow("default", precision=name) for name in ("float32", "bfloat16", "bfloat16-centred")}
        flows |= {name: mixed(chosen) for name, chosen in LAYERS.items()}
        times = alternate({name: lambda f=flow: f.encode(x[:TIMED]) for name, flow in flows.items()}, options.repeats)
        z = flows["float32"].encode(x)[0]
        exact = Exact(x, z, deviations(z), rendered(flows["float32"], z, 0.5))
        print(f"{len(x)} frames, windows of {WINDOW}, built-in flow, one core; against float32")
        print("masks flipped, of all latents (of those kept), at alpha " + ", ".join(map(str, ALPHAS)))
        print(
            "| subnets | z off, rms | " + " | ".join(map(str, ALPHAS)) + " | pixels off at 0.5, mean, most | encode |"
        )
        print("| --- " * (len(ALPHAS) + 4) + "|")
        for name, flow in flows.items():
            fps = len(x[:TIMED]) / statistics.median(times[name])
            compare(name, flow, exact, f"{fps:.0f} frames/s, {ratio(times['float32'], times[name]):.2f}x")


if __name__ == "__main__":
    main()

"""Measure what a step's gradients take in memory and time: at once, in parts, and with activation checkpointing.

python -m tests.benchmarks.activations [--backbone s3d] [--clips 8] [--parts 4]

Each way runs in a process of its own, whose peak of resident memory is compared with that before the step.
"""

import argparse
import json
import resource
import subprocess
import sys

import torch
from torch.amp import GradScaler

from s2vc.training.backbones import build_backbone
from s2vc.training.clip_shapes import CLIP_LENGTHS, SIZES
from s2vc.training.gradients import add_gradients
from s2vc.training.moco import MoCo
from s2vc.training.settings import TrainingSettings
from tests.benchmarks.measure import one_thread, print_machine, print_row, seconds


def measure(backbone: str, clips: int, parts: int, checkpointing: bool, groups: int) -> dict[str, float]:
    """Return the bytes that a step adds to the peak of this process, and its seconds."""
    one_thread()
    torch.manual_seed(0)
    network = build_backbone(backbone)
    network.activation_checkpointing = checkpointing  # type: ignore[assignment]
    model = MoCo(network, groups=groups).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    size = SIZES[backbone]
    pair = torch.rand(2, clips, 3, CLIP_LENGTHS[backbone], size, size)
    inputs = tuple(x.contiguous(memory_format=torch.channels_last_3d) for x in pair)
    for parameter in model.encoder_q.parameters():
        parameter.grad = torch.zeros_like(parameter)
    chosen = TrainingSettings(accumulate=parts, precision="float32")
    before = peak_bytes()
    spent = seconds(lambda: add_gradients(model, inputs, chosen, GradScaler("cpu", enabled=False)))
    return {"bytes": peak_bytes() - before, "seconds": spent}


def peak_bytes() -> float:
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="s3d", choices=["r3d18", "s3d"])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--alone", nargs=2, type=int, help="this way only, in this process: parts, checkpointing")
    options = parser.parse_args()
    if options.alone:
        parts, checkpointing = options.alone
        print(json.dumps(measure(options.backbone, options.clips, parts, bool(checkpointing), options.parts)))
        return
    print_machine()
    print(f"{options.backbone}, {options.clips} clips in {options.parts} groups, float32, one core")
    first: dict[str, float] = {}
    for parts in (1, options.parts):
        for checkpointing in (False, True):
            shape = ["--backbone", options.backbone, "--clips", options.clips, "--parts", options.parts]
            alone = [sys.executable, "-m", "tests.benchmarks.activations", *shape, "--alone", parts, int(checkpointing)]
            found = json.loads(subprocess.run(list(map(str, alone)), check=True, capture_output=True).stdout)
            first = first or found
            what = f"{'at once' if parts == 1 else f'in {parts} parts'}{', activation checkpointing' * checkpointing}"
            print_row(f"{what}: memory", f"{found['bytes'] / 1e9:.2f} GB", found["bytes"] / first["bytes"])
            print_row("  time", f"{found['seconds']:.1f} s", found["seconds"] / first["seconds"])


if __name__ == "__main__":
    main()

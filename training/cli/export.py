"""`s2vc-train export`."""

from pathlib import Path
from typing import Any

import click

from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.options import OUTPUT
from s2vc.pipeline.console.terminal import make_console, print_result
from s2vc.pipeline.storage import files
from s2vc.training.choices import IMAGENET_MEAN, IMAGENET_STD
from s2vc.training.clip_shapes import CLIP_SHAPES, MAX_SIZE, MIN_SIZE

STATES = ("plain", "published")
PROGRAMS = ("torchscript", "pt2", "onnx")
"""These of training.programs run without s2vc."""


@click.command("export")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=OUTPUT, required=True, help="File to write.")
@click.option("--backbone", type=click.Choice(list(CLIP_SHAPES)), help="[default: the one that is in it]")
@click.option(
    "--format",
    "kind",
    type=click.Choice([*STATES, *PROGRAMS]),
    default="plain",
    help="plain: build_backbone's state dict; published: as the published code reads it; programs that run without "
    "s2vc: torchscript, pt2 (torch.export), onnx.",
)
@click.option("--clip-length", type=click.IntRange(2), help="Of a program: frames.  [default: as its run's]")
@click.option("--size", type=click.IntRange(MIN_SIZE, MAX_SIZE), help="Of a program: pixels.  [default: as its run's]")
def export_command(
    checkpoint: Path, out: Path, backbone: str | None, kind: str, clip_length: int | None, size: int | None
) -> None:
    """Write the backbone of CHECKPOINT (a run's folder, its checkpoint, or a published one) for other programs."""
    import torch

    from s2vc.training.backbones import build_backbone
    from s2vc.training.backbones.checkpoints import find_backbone, published_format, weights_hash
    from s2vc.training.backbones.r2d3d import BLOCK_LENGTH, R2D3D18
    from s2vc.training.programs import write_program
    from s2vc.training.run_folder import run_settings

    if out.exists():
        raise UserError(f"{out} is there already; choose another --out")
    if kind in STATES and (clip_length or size):
        raise UserError(f"--clip-length and --size are for programs ({', '.join(PROGRAMS)}); format {kind} is weights")
    name, state = find_backbone(checkpoint, backbone)
    run = run_settings(checkpoint)
    built = build_backbone(name, run.get("block_length"))
    blocks = {"block_length": built.block_length} if isinstance(built, R2D3D18) else {}
    console = make_console()
    with files.attempt(out) as aside:
        if kind in STATES:
            torch.save(state if kind == "plain" else published_format(state), aside)
            print_result(console, f"{name}, {len(state)} tensors: {out}")
            if (length := blocks.get("block_length", BLOCK_LENGTH)) != BLOCK_LENGTH:
                console.print(f"Weights do not say how long blocks are: build_backbone({name!r}, {length})")
            return
        notes = _describe(run, name, clip_length, size) | blocks
        built.load_state_dict(state)
        shape = (notes["frames"], notes["size"], notes["size"])
        write_program(kind, built, shape, notes | {"weights": weights_hash(state)}, aside)
    print_result(console, f"{name}, clips (N, 3, {', '.join(map(str, shape))}) float32: {out}")
    console.print(f"Clips are in 0 to 1, less the mean {notes['mean']} of the channels, divided by {notes['std']}.")


def _describe(run: dict[str, Any], name: str, clip_length: int | None, size: int | None) -> dict[str, Any]:
    """Say which clips a backbone takes: as given, as those of its run, or by default; how they are normalised."""
    usual = CLIP_SHAPES[name]
    frames = clip_length or run.get("clip_length", usual.frames)
    if frames < usual.shortest:
        raise UserError(f"clips of {name} have {usual.shortest} frames or more, not {frames}")
    return {
        "backbone": name,
        "frames": frames,
        "frame_step": run.get("frame_step", usual.frame_step),
        "size": size or run.get("size", usual.size),
        "mean": list(run.get("mean", IMAGENET_MEAN)),
        "std": list(run.get("std", IMAGENET_STD)),
    }

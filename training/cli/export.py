"""`s2vc-train export`."""

from pathlib import Path

import click
import torch

from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.options import OUTPUT
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.storage import files
from s2vc.training.backbones import BACKBONES
from s2vc.training.backbones.checkpoints import find_backbone, published_format

FORMATS = ("plain", "published")


@click.command("export")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=OUTPUT, required=True, help="File to write, as of torch.save.")
@click.option("--backbone", type=click.Choice(list(BACKBONES)), help="[default: the one that is in it]")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="plain",
    help="plain: build_backbone's state dict; published: as the published code reads it.",
)
def export_command(checkpoint: Path, out: Path, backbone: str | None, kind: str) -> None:
    """Write the backbone of CHECKPOINT (a run's folder, its checkpoint, or a published one) for other programs."""
    if out.exists():
        raise UserError(f"{out} is there already; choose another --out")
    name, state = find_backbone(checkpoint, backbone)
    with files.attempt(out) as aside:
        torch.save(state if kind == "plain" else published_format(state), aside)
    make_console().print(f"{name}, {len(state)} tensors: {out}")

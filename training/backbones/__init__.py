"""The networks of the paper and its supplement, as feature extractors, and their checkpoints."""

from torch import nn

from s2vc.training.backbones.r2d3d import R2D3D18
from s2vc.training.backbones.r3d import R3D18, R3D18A
from s2vc.training.backbones.s3d import S3D

BACKBONES: dict[str, type[nn.Module]] = {"r3d18": R3D18, "s3d": S3D, "r2d3d18": R2D3D18, "r3d18a": R3D18A}


def build_backbone(name: str) -> nn.Module:
    """Build a backbone with fresh weights: videos (N, 3, T, H, W) float -> features (N, C, T', H', W').

    name: "r3d18" (C = 512, the last layer is res4), "s3d" (C = 1024, block5), "r2d3d18" (C = 256, layer4 before its
    last ReLU; its batch norm has no running statistics), or "r3d18a" (r3d18 with shortcuts without weights, as Hara's
    first checkpoints). C is the attribute `feature_size`. Where the attribute `activation_checkpointing` is set,
    training takes less memory and more time (see `recompute`). Raises ValueError for another name.
    """
    if name not in BACKBONES:
        raise ValueError(f"a backbone is one of {', '.join(BACKBONES)}, not {name!r}")
    return BACKBONES[name]()


__all__ = ["BACKBONES", "build_backbone"]

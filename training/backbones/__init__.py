"""The networks of the paper and its supplement, and others in use, as feature extractors, and their checkpoints."""

from torch import nn

from s2vc.training.backbones.r2d3d import R2D3D18
from s2vc.training.backbones.r3d import R3D18, R3D18A, R3D50
from s2vc.training.backbones.s3d import S3D
from s2vc.training.backbones.slow import SlowR50
from s2vc.training.backbones.torchvision_resnets import R2Plus1D18, R3D18Unpooled

BACKBONES: dict[str, type[nn.Module]] = {
    "r3d18": R3D18,
    "s3d": S3D,
    "r2d3d18": R2D3D18,
    "r3d18a": R3D18A,
    "r3d50": R3D50,
    "r2plus1d18": R2Plus1D18,
    "r3d18tv": R3D18Unpooled,
    "slow_r50": SlowR50,
}
"""The networks by name; the clips that they take by default have the same names in s2vc.training.clip_shapes."""


def build_backbone(name: str, block_length: int | None = None) -> nn.Module:
    """Build a backbone with fresh weights: videos (N, 3, T, H, W) float -> features (N, C, T', H', W').

    name: "r3d18" (C = 512, the last layer is res4), "s3d" (C = 1024, block5), "r2d3d18" (C = 256, layer4 before its
    last ReLU; its batch norm has no running statistics), "r3d18a" (r3d18 with shortcuts without weights, as Hara's
    first checkpoints), "r3d50" (C = 2048, Hara's ResNet-50), "r2plus1d18" (C = 512) and "r3d18tv" (C = 512), which are
    torchvision's r2plus1d_18 and r3d_18, or "slow_r50" (C = 2048), pytorchvideo's. C is the attribute `feature_size`.
    block_length: frames of a block, which r2d3d18 sees by itself; None for its default, 5; other backbones have none.
    Where the attribute `activation_checkpointing` is set, training takes less memory and more time (see `recompute`).
    Raises ValueError for another name.
    """
    if name not in BACKBONES:
        raise ValueError(f"a backbone is one of {', '.join(BACKBONES)}, not {name!r}")
    backbone = BACKBONES[name]()
    if block_length is not None and isinstance(backbone, R2D3D18):
        backbone.block_length = block_length
    return backbone


__all__ = ["BACKBONES", "build_backbone"]

"""The networks of the paper and its supplement, and others in use, as feature extractors, and their checkpoints."""

from dataclasses import dataclass

from torch import nn

from s2vc.training.backbones.r2d3d import R2D3D18
from s2vc.training.backbones.r3d import R3D18, R3D18A, R3D50
from s2vc.training.backbones.s3d import S3D
from s2vc.training.backbones.slow import SlowR50
from s2vc.training.backbones.torchvision_resnets import R2Plus1D18, R3D18Unpooled


@dataclass(frozen=True)
class RegisteredBackbone:
    """Holds a network, and the clips that it takes by default.

    clip_length: frames, frame_step apart. size: height and width in pixels. shortest: the fewest frames that leave
    features which have a variance.
    """

    network: type[nn.Module]
    clip_length: int
    frame_step: int
    size: int
    shortest: int = 2


BACKBONES: dict[str, RegisteredBackbone] = {
    "r3d18": RegisteredBackbone(R3D18, 16, 1, 112),
    "s3d": RegisteredBackbone(S3D, 32, 1, 128, shortest=5),  # Its pooling leaves nothing of shorter ones.
    "r2d3d18": RegisteredBackbone(R2D3D18, 40, 3, 128, shortest=5),  # One value of a small frame has no variance.
    "r3d18a": RegisteredBackbone(R3D18A, 16, 1, 112),
    "r3d50": RegisteredBackbone(R3D50, 16, 1, 112),
    "r2plus1d18": RegisteredBackbone(R2Plus1D18, 16, 1, 112),
    "r3d18tv": RegisteredBackbone(R3D18Unpooled, 16, 1, 112),
    "slow_r50": RegisteredBackbone(SlowR50, 8, 8, 224),
}
"""The clips of r3d18 and s3d are the paper's, those of r2d3d18 DPC's, whose classifier, too, takes 8 blocks of 5
frames. Those of the others are what their published weights were trained on, but that torchvision's were trained on
videos of 15 frames a second, which is a step of 2 at 30."""


def build_backbone(name: str) -> nn.Module:
    """Build a backbone with fresh weights: videos (N, 3, T, H, W) float -> features (N, C, T', H', W').

    name: "r3d18" (C = 512, the last layer is res4), "s3d" (C = 1024, block5), "r2d3d18" (C = 256, layer4 before its
    last ReLU; its batch norm has no running statistics), "r3d18a" (r3d18 with shortcuts without weights, as Hara's
    first checkpoints), "r3d50" (C = 2048, Hara's ResNet-50), "r2plus1d18" (C = 512) and "r3d18tv" (C = 512), which are
    torchvision's r2plus1d_18 and r3d_18, or "slow_r50" (C = 2048), pytorchvideo's. C is the attribute `feature_size`.
    Where the attribute `activation_checkpointing` is set, training takes less memory and more time (see `recompute`).
    Raises ValueError for another name.
    """
    if name not in BACKBONES:
        raise ValueError(f"a backbone is one of {', '.join(BACKBONES)}, not {name!r}")
    return BACKBONES[name].network()


__all__ = ["BACKBONES", "RegisteredBackbone", "build_backbone"]

"""S3D (Xie et al., ECCV 2018), key for key as it is published: separable 3D convolutions in Inception blocks."""

import torch
from torch import Tensor, nn

from s2vc.training.backbones.frame_convolution import FrameConv3d
from s2vc.training.backbones.recompute import run_stages

INITIAL_WEIGHTS = 0.01
"""Convolutions start with weights of this deviation, as in the published code; S3D's own cuts them at twice that."""


class BasicConv3d(nn.Module):
    """Applies a 1x1x1 convolution with batch norm."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class STConv3d(nn.Module):
    """Applies a convolution over space, then one over time, each with batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        side = kernel // 2
        self.conv1 = nn.Conv3d(inputs, outputs, (1, kernel, kernel), (1, stride, stride), (0, side, side), bias=False)
        self.conv2 = FrameConv3d(outputs, outputs, (kernel, 1, 1), (stride, 1, 1), (side, 0, 0), bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class Mixed(nn.Module):
    """Joins four parallel branches. widths: of branch 0, of both convolutions of branches 1 and 2, of branch 3."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]):
        super().__init__()
        one, two_in, two, three_in, three, four = widths
        self.branch0 = nn.Sequential(BasicConv3d(inputs, one))
        self.branch1 = nn.Sequential(BasicConv3d(inputs, two_in), STConv3d(two_in, two))
        self.branch2 = nn.Sequential(BasicConv3d(inputs, three_in), STConv3d(three_in, three))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), BasicConv3d(inputs, four))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], dim=1)


class S3D(nn.Module):
    """Turns videos (N, 3, T, H, W) into features (N, 1024, T/8, H/32, W/32): each halving rounds up, the last one down.

    The published modules hold each layer twice, by its own name and in its block, and so do its checkpoints.
    """

    feature_size = 1024
    activation_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.Conv_1a = STConv3d(3, 64, kernel=7, stride=2)
        self.block1 = nn.Sequential(self.Conv_1a)

        self.MaxPool_2a = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.Conv_2b = BasicConv3d(64, 64)
        self.Conv_2c = STConv3d(64, 192)
        self.block2 = nn.Sequential(self.MaxPool_2a, self.Conv_2b, self.Conv_2c)

        self.MaxPool_3a = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.Mixed_3b = Mixed(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = Mixed(256, (128, 128, 192, 32, 96, 64))
        self.block3 = nn.Sequential(self.MaxPool_3a, self.Mixed_3b, self.Mixed_3c)

        self.MaxPool_4a = nn.MaxPool3d(3, stride=2, padding=1)
        self.Mixed_4b = Mixed(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = Mixed(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = Mixed(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = Mixed(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        mixed = (self.Mixed_4b, self.Mixed_4c, self.Mixed_4d, self.Mixed_4e, self.Mixed_4f)
        self.block4 = nn.Sequential(self.MaxPool_4a, *mixed)

        self.MaxPool_5a = nn.MaxPool3d(2, stride=2)
        self.Mixed_5b = Mixed(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = Mixed(832, (384, 192, 384, 48, 128, 128))
        self.block5 = nn.Sequential(self.MaxPool_5a, self.Mixed_5b, self.Mixed_5c)

        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.normal_(module.weight, std=INITIAL_WEIGHTS)

    def forward(self, x: Tensor) -> Tensor:
        return run_stages(self, x, self.block1, self.block2, self.block3, self.block4, self.block5)

"""2D3D-ResNet-18 of dense predictive coding (Han et al., ICCV workshops 2019), key for key as it is published."""

import torch
from torch import Tensor, nn

from s2vc.training.backbones.frame_convolution import FrameConv3d
from s2vc.training.backbones.recompute import run_stages

BLOCK_LENGTH = 5
"""Blocks had this many frames in pre-training."""


def batch_norm(width: int) -> nn.BatchNorm3d:
    """Build batch norm that always takes the batch's own statistics, in evaluation mode as well; it remembers none."""
    return nn.BatchNorm3d(width, track_running_stats=False)


class Block(nn.Module):
    """Joins two convolutions over space (1x3x3) or over space and time (3x3x3) with a shortcut around them.

    stride: holds along all axes that the convolutions cover. final: the sum is returned before its ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, over_time: bool, final: bool = False):
        super().__init__()
        kernel, padding = ((3, 3, 3), (1, 1, 1)) if over_time else ((1, 3, 3), (0, 1, 1))
        strides = (stride if over_time else 1, stride, stride)
        self.conv1 = FrameConv3d(inputs, outputs, kernel, strides, padding, bias=False)
        self.bn1 = batch_norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = FrameConv3d(outputs, outputs, kernel, 1, padding, bias=False)
        self.bn2 = batch_norm(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv3d(inputs, outputs, 1, strides, bias=False)
            self.downsample = nn.Sequential(shortcut, batch_norm(outputs))
        self._final = final

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x)).add_(around)
        return x if self._final else self.relu(x)


class R2D3D18(nn.Module):
    """Turns videos (N, 3, T, H, W) into features (N, 256, T/4, H/32, W/32), each rounded up, before the last ReLU.

    A clip of several blocks (T a multiple of block_length) is seen block by block, each by itself, as in pre-training
    and in the published classifier: (N, 256, blocks * block_length/4, H/32, W/32), rounded up before it is multiplied.
    Any other clip is seen whole.

    Batch norm takes the statistics of all that is given together, whatever the mode, so that features depend on the
    other clips of a batch. In evaluation they must not: there, statistics of training videos are measured once and then
    hold for every clip (s2vc.training.batch_statistics).
    """

    feature_size = 256
    activation_checkpointing = False

    def __init__(self, block_length: int = BLOCK_LENGTH) -> None:
        super().__init__()
        self.block_length = block_length
        self.conv1 = nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1 = batch_norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.layer1 = nn.Sequential(Block(64, 64, 1, False), Block(64, 64, 1, False))
        self.layer2 = nn.Sequential(Block(64, 128, 2, False), Block(128, 128, 1, False))
        self.layer3 = nn.Sequential(Block(128, 256, 2, True), Block(256, 256, 1, True))
        self.layer4 = nn.Sequential(Block(256, 256, 2, True), Block(256, 256, 1, True, final=True))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        n, _, frames, _, _ = x.shape
        if frames == self.block_length or frames % self.block_length:
            return self._features(x)
        blocks = x.unflatten(2, (-1, self.block_length)).transpose(1, 2).flatten(0, 1)  # N*blocks x 3 x length x H x W
        features = self._features(blocks.contiguous(memory_format=torch.channels_last_3d))
        return features.unflatten(0, (n, -1)).transpose(1, 2).flatten(2, 3)

    def _features(self, x: Tensor) -> Tensor:
        return run_stages(self, x, self._stem, self.layer1, self.layer2, self.layer3, self.layer4)

    def _stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

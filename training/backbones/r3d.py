"""3D ResNet-18 and -50 (Hara et al., CVPR 2018), key for key as they are published; of 18 with either kind of
shortcut."""

from torch import Tensor, nn
from torch.nn import functional

from s2vc.training.backbones.frame_convolution import FrameConv3d
from s2vc.training.backbones.recompute import run_stages

EXPANSION = 4
"""A bottleneck has this many times its width in channels at its end."""


def _conv3x3x3(inputs: int, outputs: int, stride: int) -> nn.Conv3d:
    return FrameConv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class PaddedShortcut(nn.Module):
    """Takes every other value along each axis, and adds channels of zeros: (N, inputs, T, H, W) -> (N, outputs, T/2,
    H/2, W/2), each rounded up (He et al., CVPR 2016, option A). It has no weights."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self._added = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2, ::2], (0, 0, 0, 0, 0, 0, 0, self._added))


class BasicBlock(nn.Module):
    """Joins two 3x3x3 convolutions with a shortcut around them. padded: where widths differ, it is a PaddedShortcut and
    no convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, padded: bool = False):
        super().__init__()
        self.conv1 = _conv3x3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3x3(outputs, outputs, 1)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.downsample: nn.Module | None = None
        if padded and inputs != outputs:
            self.downsample = PaddedShortcut(inputs, outputs)
        elif stride != 1 or inputs != outputs:
            shortcut = nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)).add_(around))


class Bottleneck(nn.Module):
    """Joins a 1x1x1, a 3x3x3 and a 1x1x1 convolution, the last to 4 * width channels, with a shortcut around them."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv3d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _conv3x3x3(width, width, stride)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)).add_(around))


class ResNet3D(nn.Module):
    """Joins Hara's stem and four stages: layer1 to layer4, of which each but the first halves time, height and width.

    A subclass makes the stages in `_stages`, and says how many channels come out in `feature_size`.
    """

    feature_size: int
    activation_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = self._stages()
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stages(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return run_stages(self, x, self._stem, self.layer1, self.layer2, self.layer3, self.layer4)

    def _stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))


class R3D18(ResNet3D):
    """Turns videos (N, 3, T, H, W) into features (N, 512, T/16, H/32, W/32), each rounded up.

    padded: with shortcuts without weights (option A), as Hara's first Kinetics checkpoint of 18 layers; the paper's and
    all later ones have convolutions (B).
    """

    feature_size = 512

    def __init__(self, padded: bool = False) -> None:
        self._padded = padded
        super().__init__()

    def _stages(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
        return (
            nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1)),
            nn.Sequential(BasicBlock(64, 128, 2, self._padded), BasicBlock(128, 128, 1)),
            nn.Sequential(BasicBlock(128, 256, 2, self._padded), BasicBlock(256, 256, 1)),
            nn.Sequential(BasicBlock(256, 512, 2, self._padded), BasicBlock(512, 512, 1)),
        )


class R3D18A(R3D18):
    """Is R3D18 with padded shortcuts."""

    def __init__(self) -> None:
        super().__init__(padded=True)


class R3D50(ResNet3D):
    """Turns videos (N, 3, T, H, W) into features (N, 2048, T/16, H/32, W/32), each rounded up. Its shortcuts have
    convolutions (option B)."""

    feature_size = 2048

    def _stages(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
        return (
            _bottlenecks(64, 64, 3, 1),
            _bottlenecks(256, 128, 4, 2),
            _bottlenecks(512, 256, 6, 2),
            _bottlenecks(1024, 512, 3, 2),
        )


def _bottlenecks(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Bottleneck(EXPANSION * width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)

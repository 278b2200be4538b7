"""The residual networks of 18 layers by Tran et al. (CVPR 2018), with torchvision's keys: R(2+1)D-18, and an
R3D-18 that has another stem than Hara's."""

from torch import Tensor, nn

from s2vc.training.backbones.frame_convolution import FrameConv3d
from s2vc.training.backbones.recompute import run_stages


def _conv3d(inputs: int, outputs: int, widths: tuple[int, int], stride: int = 1) -> nn.Module:
    return FrameConv3d(inputs, outputs, 3, stride, 1, bias=False)


def _conv2plus1d(inputs: int, outputs: int, widths: tuple[int, int], stride: int = 1) -> nn.Module:
    """Build a convolution over space, batch norm, ReLU, and a convolution over time.

    widths: channels before and after the block. Between both convolutions there are as many channels as make their
    weights about as many as those of a 3x3x3 convolution from one to the other (section 3.5); the second of a block
    takes the same number as its first, in torchvision.
    """
    before, after = widths
    between = before * after * 27 // (9 * before + 3 * after)
    return nn.Sequential(
        nn.Conv3d(inputs, between, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        FrameConv3d(between, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


class VideoBlock(nn.Module):
    """Joins two convolutions, each with batch norm, with a shortcut around them. factorised: they are (2+1)D."""

    def __init__(self, inputs: int, outputs: int, stride: int, factorised: bool):
        super().__init__()
        conv, widths = _conv2plus1d if factorised else _conv3d, (inputs, outputs)
        first = conv(inputs, outputs, widths, stride)
        self.conv1 = nn.Sequential(first, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(conv(outputs, outputs, widths), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv3d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)).add_(around))


class VideoResNet18(nn.Module):
    """Turns videos (N, 3, T, H, W) into features (N, 512, T/8, H/16, W/16), each rounded up: there is no pooling.

    factorised: all convolutions are (2+1)D, the stem's too.
    """

    feature_size = 512
    activation_checkpointing = False

    def __init__(self, factorised: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(*(_stem2plus1d() if factorised else _stem3d()))
        self.layer1 = _stage(64, 64, 1, factorised)
        self.layer2 = _stage(64, 128, 2, factorised)
        self.layer3 = _stage(128, 256, 2, factorised)
        self.layer4 = _stage(256, 512, 2, factorised)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return run_stages(self, x, self.stem, self.layer1, self.layer2, self.layer3, self.layer4)


class R2Plus1D18(VideoResNet18):
    """Is R(2+1)D-18: torchvision's r2plus1d_18."""

    def __init__(self) -> None:
        super().__init__(factorised=True)


class R3D18Unpooled(VideoResNet18):
    """Is R3D-18 of Tran et al.: torchvision's r3d_18."""

    def __init__(self) -> None:
        super().__init__(factorised=False)


def _stage(inputs: int, outputs: int, stride: int, factorised: bool) -> nn.Sequential:
    return nn.Sequential(VideoBlock(inputs, outputs, stride, factorised), VideoBlock(outputs, outputs, 1, factorised))


def _stem3d() -> list[nn.Module]:
    conv = nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
    return [conv, nn.BatchNorm3d(64), nn.ReLU(inplace=True)]


def _stem2plus1d() -> list[nn.Module]:
    over_space = nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
    over_time = nn.Conv3d(45, 64, (3, 1, 1), 1, (1, 0, 0), bias=False)
    return [over_space, nn.BatchNorm3d(45), nn.ReLU(inplace=True), over_time, nn.BatchNorm3d(64), nn.ReLU(inplace=True)]

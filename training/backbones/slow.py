"""The slow pathway of SlowFast by itself (Feichtenhofer et al., ICCV 2019), Slow-R50, with the keys of pytorchvideo's
checkpoints."""

from collections import OrderedDict

from torch import Tensor, nn

from s2vc.training.backbones.recompute import run_stages

EXPANSION = 4
"""A bottleneck has this many times its width in channels at its end."""

FINAL_NORM = "norm_c"
"""The last batch norm of a block, which starts at zero, so that a block starts as its shortcut."""


class SlowBlock(nn.Module):
    """Joins a convolution over time (conv_a: frames x 1 x 1), one over space (1x3x3) and a 1x1x1 one with a shortcut
    around them. frames: 1 or 3. stride: over height and width; time stays."""

    def __init__(self, inputs: int, width: int, frames: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        if stride != 1 or inputs != outputs:
            self.branch1_conv: nn.Module | None = nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False)
            self.branch1_norm: nn.Module | None = nn.BatchNorm3d(outputs)
        else:
            self.branch1_conv = self.branch1_norm = None
        self.branch2 = nn.Sequential(
            OrderedDict(
                conv_a=nn.Conv3d(inputs, width, (frames, 1, 1), 1, (frames // 2, 0, 0), bias=False),
                norm_a=nn.BatchNorm3d(width),
                act_a=nn.ReLU(inplace=True),
                conv_b=nn.Conv3d(width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
                norm_b=nn.BatchNorm3d(width),
                act_b=nn.ReLU(inplace=True),
                conv_c=nn.Conv3d(width, outputs, 1, bias=False),
                norm_c=nn.BatchNorm3d(outputs),
            )
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        around = x
        if self.branch1_conv is not None and self.branch1_norm is not None:
            around = self.branch1_norm(self.branch1_conv(x))
        return self.activation(self.branch2(x).add_(around))


class SlowStage(nn.Module):
    """Joins the blocks of a stage, of which the first has the stride."""

    def __init__(self, inputs: int, width: int, blocks: int, frames: int, stride: int):
        super().__init__()
        rest = [SlowBlock(EXPANSION * width, width, frames, 1) for _ in range(blocks - 1)]
        self.res_blocks = nn.Sequential(SlowBlock(inputs, width, frames, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.res_blocks(x)


class SlowR50(nn.Module):
    """Turns videos (N, 3, T, H, W) into features (N, 2048, T, H/32, W/32), height and width rounded up: time is never
    shortened, and is looked along in the last two stages alone."""

    feature_size = 2048
    activation_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        stem = OrderedDict(
            conv=nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            norm=nn.BatchNorm3d(64),
            activation=nn.ReLU(inplace=True),
            pool=nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(stem),
                SlowStage(64, 64, 3, 1, 1),
                SlowStage(256, 128, 4, 1, 2),
                SlowStage(512, 256, 6, 3, 2),
                SlowStage(1024, 512, 3, 3, 2),
            ]
        )
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif name.endswith(FINAL_NORM) and isinstance(module, nn.BatchNorm3d):
                nn.init.zeros_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return run_stages(self, x, *self.blocks)

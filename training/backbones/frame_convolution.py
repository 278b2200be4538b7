"""Convolutions over time that cost no more than the frames that are there."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FrameConv3d(nn.Conv3d):
    """Is nn.Conv3d with zero padding, and leaves out the parts of its kernel that see padding alone, where one frame
    comes out: (N, inputs, T, H, W) -> (N, outputs, T', H', W').

    The last stage of a network often has one frame left, since each stage halves their number. A kernel of three frames
    then reads, multiplies and stores three times the weights that have a part in the result. Values are the same but
    for rounding, and those weights have a gradient of zero either way.
    """

    def forward(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str) and self.padding_mode == "zeros" and set(self.dilation) == {1}
        frames, kernel, before = x.shape[2], self.kernel_size[0], self.padding[0]
        # A program that is traced from one clip would be cut to its length for all others.
        traced = torch.jit.is_tracing() or torch.compiler.is_exporting()  # type: ignore[attr-defined]
        if traced or not 0 <= frames + 2 * before - kernel < self.stride[0]:
            return super().forward(x)
        weight = self.weight[:, :, before : before + frames]
        over_space = (0, *self.padding[1:])
        return functional.conv3d(x[:, :, : kernel - before], weight, self.bias, self.stride, over_space, 1, self.groups)

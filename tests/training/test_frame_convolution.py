"""Convolutions that leave out what sees padding alone: values and gradients are those of PyTorch's own."""

import pytest
import torch
from torch import nn

from s2vc.training.backbones import BACKBONES, build_backbone
from s2vc.training.backbones.frame_convolution import FrameConv3d


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (3, 0), (5, 2), (5, 4), (2, 1), (7, 3)])
def test_values_and_gradients_are_those_of_a_whole_kernel(frames: int, stride: int, kernel: int, padding: int) -> None:
    torch.manual_seed(0)
    shape = {"kernel_size": (kernel, 3, 3), "stride": (stride, 2, 1), "padding": (padding, 1, 1)}
    whole, ours = (c(4, 6, **shape, bias=True, dtype=torch.float64) for c in (nn.Conv3d, FrameConv3d))
    ours.load_state_dict(whole.state_dict())
    clips = [torch.randn(2, 4, frames, 5, 6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    clips[1].data.copy_(clips[0].data)
    if frames + 2 * padding < kernel:
        for conv, clip in zip((whole, ours), clips, strict=True):
            with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
                conv(clip)
        return
    results = [conv(clip) for conv, clip in zip((whole, ours), clips, strict=True)]
    asked = torch.randn_like(results[0])
    for result in results:
        (result * asked).sum().backward()
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(clips[1].grad, clips[0].grad)
    torch.testing.assert_close(ours.weight.grad, whole.weight.grad)
    torch.testing.assert_close(ours.bias.grad, whole.bias.grad)


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"slow_r50"}))  # which has all its frames to the end
def test_a_backbone_computes_what_it_computes_with_whole_kernels(name: str) -> None:
    torch.manual_seed(0)
    ours = build_backbone(name).double().eval()
    convolutions = [module for module in ours.modules() if type(module) is FrameConv3d]
    alone: list[bool] = []
    for convolution in convolutions:
        convolution.register_forward_hook(lambda module, inputs, result: alone.append(result.shape[2] == 1))
    clips = torch.randn(2, 3, 8 if name == "s3d" else 4, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        found = ours(clips)
        assert any(alone), "one frame comes out of none of them"
        for convolution in convolutions:
            convolution.__class__ = nn.Conv3d
        torch.testing.assert_close(found, ours(clips))

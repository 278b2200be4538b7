"""What is told of a profile: which kinds of kernels take the time."""

import pytest

from tests.gpu import flow_profile


def test_kernels_are_told_apart_by_their_names() -> None:
    kernels = [
        {"kernel": "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_nhwckrsc_nhwc_tilesize128x64x64", "ms": 6.0},
        {"kernel": "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", "ms": 2.0},
        {"kernel": "void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16, float>", "ms": 1.0},
        {"kernel": "Memset (Device)", "ms": 1.0},
    ]
    found = flow_profile.summary(kernels)
    assert found["ms"] == 10 and found["top"][0] == kernels[0]
    assert found["share"] == pytest.approx(
        {"matrix products and convolutions": 0.6, "element by element": 0.2, "other layouts": 0.1, "other": 0.1}
    )

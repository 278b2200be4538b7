"""The flow computes in its own precision, whatever the program around it has chosen for its networks: TF32, autocast.

A latent is compared with a threshold, so that a rounding of the inputs, to which features are robust, turns masks over.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


def without_autocast(method: Callable[[Any, Tensor], Result]) -> Callable[[Any, Tensor], Result]:
    """Let a method of one tensor run as it would without the autocast that may be on around the call."""

    @wraps(method)
    def run(self: Any, x: Tensor) -> Result:
        with torch.autocast(x.device.type, enabled=False):
            return method(self, x)

    return run


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let float32 convolutions and products of this process be in float32, on GPUs, too, while the block runs.

    By default cuDNN rounds their inputs to TF32, which has 11 significant bits: the fixed convolutions of the flow
    would round every latent so, whatever the subnets compute in. It holds in the code that torch.compile makes of the
    flow, too, which is made and run within the block.

    PyTorch has two sets of switches, and refuses to read the older ones where the newer ones say something else. The
    compiler reads both, so both are set.
    """
    # All of it stands in this generator, since torch.compile would make graphs of functions that it calls.
    backends: Any = torch.backends
    gpu = (backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    operations = (*gpu, backends.mkldnn.conv, backends.mkldnn.matmul)
    before = [o.fp32_precision for o in operations]
    allowed = products = None
    with suppress(RuntimeError):
        allowed = backends.cudnn.allow_tf32
    with suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
    try:
        backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        if allowed is not None:
            backends.cudnn.allow_tf32 = allowed
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision

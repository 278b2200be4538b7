"""While the flow computes, TF32 is off by every switch that PyTorch has; afterwards each is as it was."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from s2vc.pipeline.flow.own_precision import without_tf32

BACKENDS: Any = torch.backends

SWITCHES: dict[str, Callable[[], Any]] = {
    "cudnn.allow_tf32": lambda: BACKENDS.cudnn.allow_tf32,
    "cuda.matmul.allow_tf32": lambda: BACKENDS.cuda.matmul.allow_tf32,
    "float32_matmul_precision": torch.get_float32_matmul_precision,
    "cudnn": lambda: BACKENDS.cudnn.fp32_precision,
    "cudnn.conv": lambda: BACKENDS.cudnn.conv.fp32_precision,
    "cudnn.rnn": lambda: BACKENDS.cudnn.rnn.fp32_precision,
    "cuda.matmul": lambda: BACKENDS.cuda.matmul.fp32_precision,
    "mkldnn.conv": lambda: BACKENDS.mkldnn.conv.fp32_precision,
    "mkldnn.matmul": lambda: BACKENDS.mkldnn.matmul.fp32_precision,
}
OFF = [False, False, "highest", *["ieee"] * 6]


def read_switches() -> list[Any]:
    """What each switch says, or that PyTorch refuses to say it."""
    said = []
    for read in SWITCHES.values():
        try:
            said.append(read())
        except RuntimeError:
            said.append("refused")
    return said


@pytest.mark.parametrize(
    "choice",
    [
        "pass",
        "torch.backends.cudnn.allow_tf32 = False",
        "torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.set_float32_matmul_precision('high')",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cudnn.fp32_precision = 'tf32'",
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    ],
)
def test_every_switch_is_off_inside_and_as_it_was_outside(choice: str) -> None:
    """In a process of its own, since some choices cannot be taken back."""
    program = (
        "import torch\n"
        "from tests.pipeline.flow.test_own_precision import OFF, read_switches, without_tf32\n"
        f"{choice}\n"
        "before = read_switches()\n"
        "with without_tf32():\n    inside = read_switches()\n"
        "assert inside == OFF, inside\n"
        "assert read_switches() == before, (before, read_switches())\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_the_switches_come_back_after_an_error() -> None:
    before = read_switches()
    with pytest.raises(KeyError), without_tf32():
        raise KeyError
    assert read_switches() == before

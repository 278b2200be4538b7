"""Gradients in less memory: in parts, and with activation checkpointing, they are those of the whole step."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from s2vc.training.backbones import BACKBONES, build_backbone
from s2vc.training.gradients import add_gradients
from s2vc.training.moco import MoCo
from s2vc.training.settings import TrainingSettings

CLIPS, GROUPS = 10, 4
"""Groups of 3, 3, 2 and 2 clips."""


class Small(nn.Sequential):
    """A backbone of one convolution, with batch norm."""

    feature_size = 6

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(3, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU())


def clips(n: int, seed: int, size: int = 4, frames: int = 3) -> Tensor:
    return torch.randn(n, 3, frames, size, size, generator=torch.Generator().manual_seed(seed))


def test_parts_are_runs_of_whole_groups() -> None:
    moco = MoCo(Small(), dim=8, groups=GROUPS)
    assert moco.query_parts(CLIPS, 1) == [(slice(0, 10), 4)]
    assert moco.query_parts(CLIPS, 3) == [(slice(0, 6), 2), (slice(6, 8), 1), (slice(8, 10), 1)]


@pytest.mark.parametrize("queue", [0, 12], ids=["batch", "queue"])
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_step_in_parts_is_the_step(parts: int, queue: int) -> None:
    torch.manual_seed(0)
    whole = MoCo(Small(), dim=8, queue=queue, groups=GROUPS, temperature=0.2)
    divided = copy.deepcopy(whole)
    inputs, found = (clips(CLIPS, 1), clips(CLIPS, 2)), []
    for model, count in ((whole, 1), (divided, parts)):
        for step in range(2):  # The second step has the queue and the running statistics of the first.
            torch.manual_seed(step)
            chosen = TrainingSettings(accumulate=count, precision="float32")
            found.append(add_gradients(model, inputs, chosen, GradScaler("cpu", enabled=False)))
    for (loss, scores), (expected, complete) in zip(found[2:], found[:2], strict=True):
        torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(scores.logits, complete.logits, atol=1e-5, rtol=1e-5)
        assert torch.equal(scores.targets, complete.targets)
        torch.testing.assert_close(scores.batch_top1, complete.batch_top1, atol=1e-6, rtol=0)
    expected_state = whole.state_dict()
    assert ("queue" in expected_state) == (queue > 0)
    for name, value in divided.state_dict().items():
        torch.testing.assert_close(value, expected_state[name], atol=1e-6, rtol=1e-5)
    for (name, p), q in zip(divided.named_parameters(), whole.parameters(), strict=True):
        assert (p.grad is None) == name.startswith("encoder_k")
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-4)


def saved_bytes(backbone: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Features, and the bytes that autograd keeps for the backward pass, but for weights."""
    weights, kept = {p.data_ptr() for p in backbone.parameters()}, 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes if tensor.data_ptr() not in weights else 0
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        return backbone(x), kept


@pytest.mark.parametrize("name", BACKBONES)
def test_activation_checkpointing_keeps_less_and_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    plain = build_backbone(name).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing = True  # type: ignore[assignment]
    x, kept = clips(2, 3, size=32, frames=8), []
    for backbone in (plain, checkpointed):
        features, size = saved_bytes(backbone, x)
        kept.append(size)
        features.square().mean().backward()
    assert kept[1] < 0.2 * kept[0]
    for (key, p), q in zip(checkpointed.named_parameters(), plain.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-4, msg=key)
    expected = plain.state_dict()
    for key, value in checkpointed.state_dict().items():
        assert torch.equal(value, expected[key]), f"{key}: batches are counted once"
    with torch.no_grad():
        assert torch.equal(checkpointed.eval()(x), plain.eval()(x))
    assert all(m.track_running_stats for m in checkpointed.modules() if getattr(m, "running_mean", None) is not None)

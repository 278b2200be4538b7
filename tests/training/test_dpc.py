"""Dense predictive coding: the published keys and scores, a plain reference by loops, and real runs of both methods."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn
from torch.nn import functional

from s2vc.training.backbones import build_backbone
from s2vc.training.backbones.checkpoints import find_backbone
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.dpc import DPC, OTHER_CLIP, OTHER_PLACE, OTHER_TIME, POSITIVE, contrasts
from s2vc.training.methods import build_training_task, open_clips
from s2vc.training.prepare import prepare_run, with_regime
from s2vc.training.run_folder import read_metrics
from s2vc.training.schedule import learning_rate
from s2vc.training.settings import merge_settings
from s2vc.training.trainer import train

SEED = 20240
WIDTH = 5


class Tiny(nn.Module):
    """A backbone of one convolution to a map of 2 x 2; frames do not see each other, and a block keeps its length."""

    feature_size = WIDTH
    block_length = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, WIDTH, (1, 2, 2), stride=(1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def tiny_dpc(blocks: int = 5, predicted: int = 2) -> DPC:
    torch.manual_seed(0)
    model = DPC(Tiny(), blocks, block_length=3, predicted=predicted)
    for parameter in model.parameters():  # biases of zero would hide what is done with them
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


def clips(n: int, frames: int = 15) -> Tensor:
    return torch.randn(n, 3, frames, 4, 4, generator=torch.Generator().manual_seed(1))


def test_keys_scores_and_mask_are_the_published_ones(shared: Path) -> None:
    sys.path.insert(0, str(shared / "reference"))
    from fill import fill

    shapes = json.loads((shared / "reference" / "dpc_keys.json").read_text())
    model = DPC(build_backbone("r2d3d18")).eval()
    assert list(model.state_dict()) == list(shapes)
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == shapes
    values = fill({k: tuple(s) for k, s in shapes.items()}, SEED)
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in values.items()})
    blocks = np.random.default_rng([SEED, 4]).standard_normal((2, 8, 3, 5, 64, 64), dtype=np.float32)
    clip = torch.from_numpy(blocks).transpose(1, 2).flatten(2, 3)
    recorded = np.load(shared / "reference" / "dpc_outputs.npz")
    with torch.no_grad():
        # In float64, the same on every processor: what is left is the rounding of the recorded float32 numbers, which
        # are up to 14 in size, after some 20 layers.
        np.testing.assert_allclose(model.double().score(clip.double()), recorded["score"], atol=2e-4)
        np.testing.assert_allclose(model.float().score(clip), recorded["score"], atol=5e-3)
    np.testing.assert_array_equal(contrasts(2, 3, 4), recorded["mask"])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def plain_scores(model: DPC, clip: Tensor) -> np.ndarray:
    """The reference, written out place by place in float64: (N, P, S, N, P, S)."""
    w = {k: v.detach().double().numpy() for k, v in model.state_dict().items()}
    maps = functional.conv3d(clip.double(), *(p.double() for p in model.backbone.parameters()), stride=(1, 2, 2))  # type: ignore[call-overload, union-attr]
    n, blocks, predicted = len(clip), model.blocks, model.predicted
    features = maps.detach().numpy().reshape(n, WIDTH, blocks, 3, 4)  # clip, channel, block, frame, place

    def gate(name: str, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        cell = f"agg.cell_list.0.{name}"
        return w[f"{cell}.weight"][:, :, 0, 0] @ np.concatenate([x, state]) + w[f"{cell}.bias"]

    def next_state(x: np.ndarray, state: np.ndarray) -> np.ndarray:
        x = np.maximum(x, 0)
        reset, update = sigmoid(gate("reset_gate", x, state)), sigmoid(gate("update_gate", x, state))
        return (1 - update) * state + update * np.tanh(gate("out_gate", x, reset * state))

    def predict(state: np.ndarray) -> np.ndarray:
        hidden = np.maximum(w["network_pred.0.weight"][:, :, 0, 0] @ state + w["network_pred.0.bias"], 0)
        return w["network_pred.2.weight"][:, :, 0, 0] @ hidden + w["network_pred.2.bias"]

    found, true = np.zeros((2, n, predicted, 4, WIDTH))
    for i in range(n):
        for s in range(4):
            block_means = [np.mean([features[i, :, b, t, s] for t in range(3)], axis=0) for b in range(blocks)]
            state = np.zeros(WIDTH)
            for b in range(blocks - predicted):
                state = next_state(block_means[b], state)
            for p in range(predicted):
                found[i, p, s] = predict(state)
                true[i, p, s] = block_means[blocks - predicted + p]
                state = next_state(found[i, p, s], state)
    scores = np.zeros((n, predicted, 4) * 2)
    for a in np.ndindex(*scores.shape[:3]):
        for b in np.ndindex(*scores.shape[3:]):
            scores[a + b] = found[a] @ true[b]
    return scores


@pytest.mark.parametrize(("blocks", "predicted"), [(5, 2), (5, 1), (2, 1), (5, 4)])
def test_logits_and_loss_are_those_of_plain_loops(blocks: int, predicted: int) -> None:
    model, clip = tiny_dpc(blocks, predicted), clips(3, 3 * blocks)
    expected = plain_scores(model, clip).reshape(3 * predicted * 4, -1)
    logits = model(clip).logits
    np.testing.assert_allclose(logits.detach(), expected, atol=1e-4)
    losses = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(expected)]
    loss = functional.cross_entropy(logits.detach(), torch.arange(len(logits)))
    assert float(loss) == pytest.approx(np.mean(losses), abs=1e-4)


def test_the_share_within_a_batch_is_of_places_nearest_to_their_own_clip() -> None:
    model, clip = tiny_dpc(), clips(6)
    scores = plain_scores(model, clip)
    hits = [scores[i, p, s, :, p, s].argmax() == i for i, p, s in np.ndindex(6, 2, 4)]
    assert 0 < np.mean(hits) < 1
    assert float(model(clip).batch_top1) == pytest.approx(np.mean(hits))


def test_each_column_is_named_for_what_it_is_to_its_row() -> None:
    kinds = contrasts(2, 3, 2).numpy()
    for i, p, s, j, q, r in np.ndindex(2, 3, 2, 2, 3, 2):
        if i != j:
            expected = OTHER_CLIP
        elif s != r:
            expected = OTHER_PLACE
        else:
            expected = POSITIVE if p == q else OTHER_TIME
        assert kinds[i, p, s, j, q, r] == expected


def test_gradients_reach_the_backbone_by_predictions_and_by_targets() -> None:
    model = tiny_dpc()
    clip = clips(2).requires_grad_()
    functional.cross_entropy(model(clip).logits, torch.arange(16)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert clip.grad is not None
    assert (clip.grad.abs().sum(dim=(0, 1, 3, 4)) > 0).all(), "the blocks that are seen, and those that are predicted"


def test_a_prediction_sees_nothing_of_what_it_predicts() -> None:
    model, clip = tiny_dpc(), clips(2)
    other = clip.clone()
    other[:, :, 9:] += 1.0  # the last two blocks
    first, second = (model._predictions(model._features(c)[:, :3].relu()) for c in (clip, other))
    assert torch.equal(first, second)
    assert not torch.equal(model.score(clip), model.score(other))


def test_dropout_is_of_the_state_while_training_only() -> None:
    model, clip = tiny_dpc(), clips(2)
    assert torch.equal(model.score(clip), model.score(clip))
    model.train()
    draws = torch.stack([model.score(clip) for _ in range(20)])
    assert (draws.std(dim=0) > 0).any()


def test_more_than_all_but_one_block_cannot_be_predicted() -> None:
    with pytest.raises(ValueError, match="1 to 4 can be predicted, not 5"):
        DPC(Tiny(), blocks=5, predicted=5)


# --- on a cache

SMALL: dict[str, Any] = {
    "split": "all", "batch": 2, "size": 32, "blocks": 3, "block_length": 5, "predicted": 2, "frame_step": 1,
    "epochs": 2, "loader_workers": 0,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {"dpc": {}, "dpc-s2vc": {"alpha": [0.5]}}
CPU = torch.device("cpu")


def trained(cache: Path, method: str, out: Path, should_stop: Callable[[], bool] = lambda: False) -> Path:
    """A run of four steps, or what is left of it."""
    run = prepare_run([SMALL, {"method": method, "cache": str(cache)}, METHODS[method]], out, CPU)
    train(run.settings, run.clips, run.folder, CPU, should_stop=should_stop)
    return out


def state(run: Path) -> dict[str, Tensor]:
    return torch.load(run / "checkpoint.pt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("method", ["dpc", pytest.param("dpc-s2vc", marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits_and_is_exported(
    method: str, cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    whole = trained(cache_path, method, tmp_path / "whole")
    parts = trained(cache_path, method, tmp_path / "parts", should_stop=lambda: True)
    assert [r.step for r in read_metrics(parts / "metrics.csv")] == [1]
    trained(cache_path, method, parts)
    losses = [[r.loss for r in read_metrics(run / "metrics.csv")] for run in (whole, parts)]
    assert len(losses[0]) == 4 and losses[0] == losses[1] and np.isfinite(losses[0]).all()
    assert all(torch.equal(a, b) for a, b in zip(state(whole).values(), state(parts).values(), strict=True))
    result = train_cli("export", whole, "--out", tmp_path / "backbone.pt")
    assert result.exit_code == 0 and "r2d3d18" in result.output, result.output
    exported = torch.load(tmp_path / "backbone.pt", weights_only=True)
    build_backbone("r2d3d18").load_state_dict(exported)
    assert all(torch.equal(v, state(whole)[f"backbone.{k}"]) for k, v in exported.items())
    assert find_backbone(whole)[0] == "r2d3d18"


def test_the_command_trains_and_says_what_it_does(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**SMALL, "epochs": 1}.items()]
    result = train_cli(cache_path, "--method", "dpc-s2vc", "--alpha", 0.5, *flags, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "dpc-s2vc with r2d3d18 on 5 videos, 15 frames of 32x32" in said and "2 of 2 steps done" in said
    assert "regime paper (5 videos, 2 steps): constant" in said
    assert "own clip first among 2: " in said and " (chance 50.0%), top-1 " in said
    assert " (chance 25.0%)" in said and "top-5" not in said  # 2 clips, 2 predicted blocks, 1 place: 4 candidates
    assert "queue" not in said and "negatives" not in said


def test_the_target_of_each_predicted_place_is_its_true_feature(cache_path: Path) -> None:
    settings = merge_settings(SMALL, {"method": "dpc", "cache": str(cache_path), "size": 48})
    dataset = open_clips(settings)
    task = build_training_task(settings, dataset, CPU)
    frames = torch.stack([dataset[i][0] for i in range(3)])
    inputs = task.inputs([frames])
    logits, targets, _ = task.model(*inputs)
    assert inputs[0].shape == (3, 3, 15, 48, 48) and logits.shape == (24, 24)  # 3 clips, 2 blocks, 2 x 2 places
    kinds = contrasts(3, 2, 4).flatten(3).flatten(0, 2)
    assert (kinds[torch.arange(24), targets] == POSITIVE).all() and int((kinds == POSITIVE).sum()) == 24


@pytest.mark.parametrize("warmup", [0, 2])
def test_the_learning_rate_stays_as_it_is(warmup: int) -> None:
    settings = with_regime([{"method": "dpc", "lr": 0.3, "epochs": 20, "warmup_epochs": warmup}], 720)
    expected = np.concatenate([np.linspace(0, 0.3, 3 * warmup + 1)[1:], np.full(60 - 3 * warmup, 0.3)])
    np.testing.assert_allclose([learning_rate(settings, 3, done) for done in range(60)], expected)


@pytest.mark.parametrize("regime", ["paper", "small"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_said_of_negatives_or_a_queue(method: str, regime: str) -> None:
    chosen = {"method": method, "regime": regime, "batch": 4}  # MoCo would get a note on it.
    assert resolve_settings(with_regime([chosen, METHODS[method]], 90), 90)[1] == []
    assert len(resolve_settings(with_regime([chosen | {"method": "moco"}], 90), 90)[1]) == 1


def test_published_checkpoints_start_a_run(cache_path: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    published = {f"module.{k}": v for k, v in DPC(build_backbone("r2d3d18")).state_dict().items()}
    torch.save({"epoch": 3, "net": "resnet18", "state_dict": published}, tmp_path / "epoch3.pth.tar")
    chosen = {"method": "dpc", "cache": str(cache_path), "init": str(tmp_path / "epoch3.pth.tar")}
    settings = merge_settings(SMALL, chosen)
    model = build_training_task(settings, open_clips(settings), CPU).model
    own = {k: v for k, v in model.state_dict().items() if k.startswith("backbone.")}
    assert own and all(torch.equal(v, published[f"module.{k}"]) for k, v in own.items())

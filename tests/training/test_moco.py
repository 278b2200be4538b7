"""MoCo, with a queue and without, against a plain reference on arrays; its batch norm shuffled over processes."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from s2vc.training.backbones import build_backbone
from s2vc.training.moco import MoCo, build_encoder

DIM, WIDTH = 8, 6


class Tiny(nn.Module):
    """A backbone of one convolution, with batch norm."""

    feature_size = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm3d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


def tiny_moco(queue: int = 10, **settings: float) -> MoCo:
    torch.manual_seed(0)
    return MoCo(Tiny(), dim=DIM, queue=queue, **settings)  # type: ignore[arg-type]


def clips(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


def embed(encoder: nn.Module, x: Tensor) -> np.ndarray:
    """The reference: normalised embeddings, float64, by an encoder that is left as it is."""
    with torch.no_grad():
        v = copy.deepcopy(encoder).double()(x.double()).flatten(1).numpy()
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def loss_by_loops(q: np.ndarray, k: np.ndarray, queue: np.ndarray | None, temperature: float) -> float:
    """The reference for eq. 6, mean over queries: q, k (N, dim); queue (dim, K), or None: the step's other keys."""
    losses = []
    for i in range(len(q)):
        others = [k[j] for j in range(len(k)) if j != i] if queue is None else list(queue.T)
        positive = np.exp(np.dot(q[i], k[i]) / temperature)
        losses.append(-np.log(positive / (positive + sum(np.exp(np.dot(q[i], n) / temperature) for n in others))))
    return float(np.mean(losses))


@pytest.mark.parametrize("size", [0, 10], ids=["batch", "queue"])
def test_loss_and_gradient_are_those_of_a_plain_computation(size: int) -> None:
    model, step = tiny_moco(size, temperature=0.1, momentum=1.0), 1e-3
    query, key = clips(6), clips(6, seed=1)
    k = embed(model.encoder_k, key)
    queue = None if model.queue is None else model.queue.double().numpy()
    weight = model.encoder_q[2].weight
    found = []
    for change in (0, step, -2 * step, step):  # of one weight; the keys stay, as no gradient goes through them
        weight.data[0, 0] += change
        found.append(loss_by_loops(embed(model.encoder_q, query), k, queue, 0.1))
    scores = model(query, key)
    loss = functional.cross_entropy(scores.logits, scores.targets)
    loss.backward()
    assert weight.grad is not None
    np.testing.assert_allclose(loss.item(), found[0], rtol=1e-5)
    np.testing.assert_allclose(weight.grad[0, 0].item(), (found[1] - found[2]) / (2 * step), rtol=2e-3)
    assert all(p.grad is None for p in model.encoder_k.parameters())


def test_without_a_queue_negatives_are_the_other_keys_of_the_step() -> None:
    model = tiny_moco(queue=0, temperature=0.1)
    query, key = clips(5), clips(5, seed=1)
    q, k = embed(model.encoder_q, query), embed(model.encoder_k, key)
    for _ in range(2):  # nothing is kept from one step to the next
        scores = model(query, key)
        np.testing.assert_allclose(scores.logits.detach(), q @ k.T / 0.1, atol=1e-4)
        assert scores.targets.tolist() == [0, 1, 2, 3, 4]
    assert {"queue", "pointer"} & model.state_dict().keys() == set()
    assert model.state_dict().keys() | {"queue", "pointer"} == tiny_moco(queue=3).state_dict().keys()


def test_logits_are_the_positive_and_the_queue_over_the_temperature() -> None:
    model = tiny_moco(temperature=0.07)
    query, key = clips(4), clips(4, seed=1)
    q, k, queue = embed(model.encoder_q, query), embed(model.encoder_k, key), model.queue.double().numpy().copy()
    expected = np.concatenate([(q * k).sum(1, keepdims=True), q @ queue], axis=1) / 0.07
    logits, targets, _ = model(query, key)
    assert logits.shape == (4, 11) and targets.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(logits.detach(), expected, atol=1e-4)


def test_the_share_within_a_batch_is_of_queries_nearest_to_their_own_key() -> None:
    model, key = tiny_moco(), clips(6, seed=1)
    for query, least in ((key, 1.0), (clips(6), 0.0)):
        k = embed(model.encoder_k, key)
        expected = np.mean((embed(model.encoder_q, query) @ k.T).argmax(axis=1) == np.arange(6))
        assert least <= expected == pytest.approx(float(model(query, key).batch_top1))


def test_symmetric_scores_are_those_of_both_directions_by_one_key_encoder() -> None:
    model = tiny_moco(queue=0, temperature=0.1, momentum=0.9, symmetric=True)
    with torch.no_grad():
        for p in model.encoder_q.parameters():
            p.add_(0.5)
    original, preserved = clips(5), clips(5, seed=1)
    scores = model(original, preserved)  # The key encoder follows once.
    expected = tiny_moco(queue=0, momentum=0.9)
    for q, k in zip(model.encoder_q.parameters(), expected.encoder_k.parameters(), strict=True):
        k.data.mul_(0.9).add_(0.1 * q.data)
    for name, p in model.encoder_k.named_parameters():
        torch.testing.assert_close(p, expected.encoder_k.get_parameter(name))
    q, k = embed(model.encoder_q, original), embed(model.encoder_k, preserved)
    q_swapped, k_swapped = embed(model.encoder_q, preserved), embed(model.encoder_k, original)
    np.testing.assert_allclose(scores.logits.detach()[:5], q @ k.T / 0.1, atol=1e-4)
    np.testing.assert_allclose(scores.logits.detach()[5:], q_swapped @ k_swapped.T / 0.1, atol=1e-4)
    assert scores.targets.tolist() == [0, 1, 2, 3, 4] * 2
    loss = functional.cross_entropy(scores.logits, scores.targets).item()
    by_loops = (loss_by_loops(q, k, None, 0.1) + loss_by_loops(q_swapped, k_swapped, None, 0.1)) / 2
    assert loss == pytest.approx(by_loops, rel=1e-4)
    nearest = [(a @ b.T).argmax(axis=1) == np.arange(5) for a, b in ((q, k), (q_swapped, k_swapped))]
    assert float(scores.batch_top1) == pytest.approx(np.mean(nearest))


def test_running_statistics_of_a_symmetric_step_are_those_of_original_clips() -> None:
    model, alone = tiny_moco(queue=0, symmetric=True), tiny_moco(queue=0)
    model(clips(6), 3 + 2 * clips(6, seed=1))
    alone(clips(6), 3 + 2 * clips(6, seed=1))
    for name, value in alone.encoder_q.named_buffers():
        assert torch.equal(model.encoder_q.get_buffer(name), value), name


def test_symmetric_goes_without_a_queue() -> None:
    with pytest.raises(ValueError, match="queue"):
        tiny_moco(queue=10, symmetric=True)


def test_the_key_encoder_follows_by_momentum_before_it_embeds() -> None:
    model = tiny_moco(momentum=0.9)
    with torch.no_grad():
        for p in model.encoder_q.parameters():
            p.add_(1.0)
    q = {n: p.double().detach().clone() for n, p in model.encoder_q.named_parameters()}
    k = {n: p.double().clone() for n, p in model.encoder_k.named_parameters()}
    key = clips(4, seed=1)
    model(clips(4), key)
    for name, p in model.encoder_k.named_parameters():
        np.testing.assert_allclose(p, 0.9 * k[name] + 0.1 * q[name], atol=1e-6)
    np.testing.assert_allclose(model.queue[:, :4].T, embed(model.encoder_k, key), atol=1e-5)


def test_no_gradient_reaches_the_key_encoder_or_the_queue() -> None:
    model = tiny_moco()
    model(clips(4), clips(4, seed=1)).logits.sum().backward()
    assert all(p.grad is None for p in model.encoder_k.parameters())
    assert all(p.grad is not None for p in model.encoder_q.parameters())
    assert not model.queue.requires_grad


@pytest.mark.parametrize("batch", [3, 4, 10, 13])
def test_the_queue_holds_the_latest_keys_in_order_whatever_the_batch(batch: int) -> None:
    model = tiny_moco(queue=10)
    first = model.queue.T.clone()
    latest: list[np.ndarray] = list(first.numpy())
    for step in range(5):
        key = clips(batch, seed=10 + step)
        model(clips(batch), key)
        latest = [*latest, *embed(model.encoder_k, key)][-10:]
    pointer = int(model.pointer)
    in_order = np.roll(model.queue.T.numpy(), -pointer, axis=0)
    np.testing.assert_allclose(in_order, np.stack(latest), atol=1e-5)


def test_the_queue_starts_on_the_unit_sphere() -> None:
    np.testing.assert_allclose(tiny_moco(queue=50).queue.norm(dim=0), np.ones(50), atol=1e-6)


def test_heads_are_the_two_of_paper_and_code() -> None:
    linear = [k for k in build_encoder(Tiny(), "linear", DIM).state_dict() if not k.startswith("0.")]
    mlp = [k for k in build_encoder(Tiny(), "mlp", DIM).state_dict() if not k.startswith("0.")]
    assert linear == ["2.weight", "2.bias"]
    assert mlp == ["2.weight", "2.bias", "4.weight", "4.bias"]
    with pytest.raises(ValueError, match="mlp, linear"):
        build_encoder(Tiny(), "deep", DIM)


def test_groups_are_normalised_apart_and_keys_after_a_shuffle() -> None:
    model = tiny_moco(groups=2)
    query, key = clips(8), clips(8, seed=1)
    q = np.concatenate([embed(model.encoder_q, query[:4]), embed(model.encoder_q, query[4:])])
    torch.manual_seed(5)
    order = torch.randperm(8)
    shuffled = np.concatenate([embed(model.encoder_k, key[order[:4]]), embed(model.encoder_k, key[order[4:]])])
    k = np.empty_like(shuffled)
    k[order.numpy()] = shuffled
    torch.manual_seed(5)
    logits = model(query, key).logits
    np.testing.assert_allclose(logits.detach()[:, 0], (q * k).sum(1) / 0.07, atol=1e-4)
    np.testing.assert_allclose(model.queue[:, :8].T, k, atol=1e-5)
    assert not np.allclose(k, embed(model.encoder_k, key), atol=1e-3)


def send_as_nccl_does() -> None:
    """Let a collective of gloo, which is run here, send memory as it lies: NCCL's, on GPUs, look at no strides."""
    gather = distributed.all_gather_into_tensor

    def of_memory(output: Tensor, given: Tensor) -> None:
        assert output.is_contiguous() and given.is_contiguous()
        gather(output, given)

    distributed.all_gather_into_tensor = of_memory  # type: ignore[assignment]


def shuffled(rank: int, folder: str, queue: int, symmetric: bool) -> None:
    """One of two processes: embeds its half of the keys, and writes what came of it down."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = tiny_moco(queue, symmetric=symmetric)
    torch.manual_seed(rank)  # the order is the first process's, whatever the others would draw
    key = clips(8, seed=1)[4 * rank : 4 * rank + 4].contiguous(memory_format=torch.channels_last_3d)
    send_as_nccl_does()
    scores = model(clips(8)[4 * rank : 4 * rank + 4], key)
    loss = functional.cross_entropy(scores.logits, scores.targets)
    loss.backward()
    gradient = model.encoder_q[2].weight.grad
    kept = {**scores._asdict(), "loss": loss.detach(), "gradient": gradient, **dict(model.named_buffers())}
    torch.save({name: value.detach() for name, value in kept.items()}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def in_two_processes(folder: Path, queue: int, symmetric: bool = False) -> list[dict[str, Tensor]]:
    torch.multiprocessing.spawn(shuffled, (str(folder), queue, symmetric), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize(
    ("queue", "symmetric"), [(0, False), (10, False), (0, True)], ids=["batch", "queue", "symmetric"]
)
def test_two_processes_have_logits_loss_and_gradient_of_one(queue: int, symmetric: bool, tmp_path: Path) -> None:
    both = in_two_processes(tmp_path, queue, symmetric)
    alone = tiny_moco(queue, groups=2, symmetric=symmetric)  # which normalises halves, as the two do
    torch.manual_seed(0)
    scores = alone(clips(8), clips(8, seed=1))
    loss = functional.cross_entropy(scores.logits, scores.targets)
    loss.backward()
    expected = {**scores._asdict(), "loss": loss, "gradient": alone.encoder_q[2].weight.grad}
    for name in ("logits", "targets"):
        directions = zip(
            *(part[name].split(4) for part in both), strict=True
        )  # the queries of both, direction by direction
        joined = torch.cat([half for halves in directions for half in halves])
        torch.testing.assert_close(joined, expected[name].detach())
    for name in ("loss", "gradient", "batch_top1"):
        torch.testing.assert_close((both[0][name] + both[1][name]) / 2, expected[name].detach(), atol=1e-5, rtol=1e-4)


def test_batch_norm_is_shuffled_over_processes_and_keys_come_back_in_order(tmp_path: Path) -> None:
    both = in_two_processes(tmp_path, queue=10)
    assert torch.equal(both[0]["queue"], both[1]["queue"])
    assert int(both[0]["pointer"]) == 8
    # Computed apart: the keys in the order drawn, normalised in halves of that order, and put back.
    torch.manual_seed(0)
    order = torch.randperm(8)
    model, key = tiny_moco(), clips(8, seed=1)
    parts = np.concatenate([embed(model.encoder_k, key[order[:4]]), embed(model.encoder_k, key[order[4:]])])
    expected = np.empty_like(parts)
    expected[order.numpy()] = parts
    np.testing.assert_allclose(both[0]["queue"][:, :8].T, expected, atol=1e-5)
    # The positives are of a query and its own key.
    q = embed(model.encoder_q, clips(8)[4:])
    np.testing.assert_allclose(both[1]["logits"][:, 0], (q * expected[4:]).sum(1) / 0.07, atol=1e-4)
    for rank in range(2):
        q = embed(model.encoder_q, clips(8)[4 * rank : 4 * rank + 4])
        nearest = (q @ expected.T).argmax(axis=1)  # among the keys of both processes
        assert float(both[rank]["batch_top1"]) == np.mean(nearest == 4 * rank + np.arange(4))


@pytest.mark.parametrize("backbone", ["r3d18", "s3d", "r2plus1d18"])
def test_clips_sent_in_half_precision_have_the_keys_of_whole_ones(backbone: str) -> None:
    """Under autocast, the first layer rounds its input; processes send clips that are rounded already."""
    encoder = build_encoder(build_backbone(backbone), "linear", DIM).eval()
    clip = torch.rand(1, 3, 8, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole, half = encoder(clip), encoder(clip.bfloat16())
    assert torch.equal(whole, half)

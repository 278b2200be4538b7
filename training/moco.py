"""MoCo as S²VC integrates it, eq. 6: with a momentum dictionary (He et al., CVPR 2020), or with the keys of the same
step as negatives (MoCo v3, Chen et al., ICCV 2021).

A process has N clips, all processes have N'; features have C channels, and the queue holds K keys.
"""

import copy
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from s2vc.training.backbones.recompute import statistics_kept
from s2vc.training.choices import HEADS


class Scores(NamedTuple):
    """Holds what a model says of a batch. logits: (N, classes) float32; MoCo's are (N, 1 + K) with the positive in
    column 0, or (N, N') without a queue. targets: (N,) int64, the column that is right. batch_top1: (), share of
    queries whose own key is the nearest of the N' keys of this step, NaN where there are none.

    Keys drift, so that the newest in a queue can be recognised by its age. Those of one step are of one age: batch_top1
    rises above 1 / N' only with what is learned of the clips.
    """

    logits: Tensor
    targets: Tensor
    batch_top1: Tensor


def build_encoder(backbone: nn.Module, head: str, dim: int, dropout: float = 0.0) -> nn.Sequential:
    """Join a backbone, a global average pool over space and time, and the projection head, as 1x1x1 convolutions.

    head: `mlp` (the published code: one hidden layer as wide as the features) or `linear` (the paper's text);
    ValueError for another. dropout: rate on the pooled features. The published keys: `0.*` the backbone, `2.*` and
    `4.*` the head.
    """
    width = int(backbone.feature_size)  # type: ignore[arg-type]
    if head == "linear":
        layers: list[nn.Module] = [nn.Conv3d(width, dim, 1)]
    elif head == "mlp":
        layers = [nn.Conv3d(width, width, 1), nn.ReLU(), nn.Conv3d(width, dim, 1)]
    else:
        raise ValueError(f"a head is one of {', '.join(HEADS)}, not {head!r}")
    pool: nn.Module = nn.AdaptiveAvgPool3d(1)
    if dropout:
        pool = nn.Sequential(pool, nn.Dropout(dropout))  # Both take one place, so that the keys of the head stay.
    return nn.Sequential(backbone, pool, *layers)


class MoCo(nn.Module):
    """Joins a query encoder, a momentum encoder, and the negatives that a query's key is compared with.

    backbone: both encoders start from it. dim: size of the embeddings. queue: K, the latest keys, which are kept as
    negatives; 0 keeps none, and a query's negatives are the other keys of its step. momentum: of the key encoder.
    temperature: τ of eq. 6. groups: parts of a process's clips that are normalised apart, keys after a shuffle. If a
    query and its key were normalised among the same clips, their statistics would give the key away. symmetric: key
    clips have to find query clips as well (MoCo v3, algorithm 1), so that the encoder is trained on both; no queue
    then. Running statistics are those of query clips, which are what the encoder is used for afterwards.
    """

    queue: Tensor | None
    pointer: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: str = "mlp",
        dim: int = 128,
        queue: int = 2048,
        momentum: float = 0.999,
        temperature: float = 0.07,
        groups: int = 1,
        symmetric: bool = False,
    ):
        super().__init__()
        if symmetric and queue:
            raise ValueError("symmetric goes without a queue")
        self.symmetric = symmetric
        self.momentum, self.temperature, self.groups = momentum, temperature, groups
        self.encoder_q = build_encoder(backbone, head, dim)
        self.encoder_k = copy.deepcopy(self.encoder_q).requires_grad_(False)
        # Without a queue a state dict has neither.
        self.register_buffer("queue", functional.normalize(torch.randn(dim, queue), dim=0) if queue else None)
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long) if queue else None)

    def forward(self, query: Tensor, key: Tensor, first: int | None = None, groups: int | None = None) -> Scores:
        """Score query and key clips (N, 3, T, H, W): logits (N, 1 + K) or (N, N'), and the columns that are right.
        Symmetric scores are (2N, N'), those of the key clips below.

        first, groups: only a part of a step's queries is scored, for gradient accumulation, the one from the `first` of
        this process's clips on, in as many groups (see `query_parts`). Then key has the keys that `embed_keys` gave,
        (N', dim), and the queue is left to `enqueue`.
        """
        if first is not None:
            return self._score(query, key, first, groups or 1)
        keys = self.embed_keys(key)
        scores = self._score(query, keys, 0, self.groups)
        if self.symmetric:
            return self._join_swapped(scores, query, key)
        self.enqueue(keys)
        return scores

    def _join_swapped(self, scores: Scores, query: Tensor, key: Tensor) -> Scores:
        """Join the scores of queries with those of the same clips in each other's place."""
        with statistics_kept(self.encoder_q):
            swapped = self._score(key, self._embed_shuffled(query), 0, self.groups)
        logits, targets = (torch.cat(parts) for parts in zip(scores[:2], swapped[:2], strict=True))
        return Scores(logits, targets, (scores.batch_top1 + swapped.batch_top1) / 2)

    def query_parts(self, clips: int, count: int) -> list[tuple[slice, int]]:
        """Divide a process's `clips` into `count` parts, as even as whole groups allow: each part, and its groups."""
        bounds = [0, *(len(part) for part in torch.arange(clips).tensor_split(self.groups))]
        starts = torch.tensor(bounds).cumsum(0)
        parts = torch.arange(self.groups).tensor_split(count)
        return [(slice(int(starts[p[0]]), int(starts[p[-1] + 1])), len(p)) for p in parts]

    def _score(self, query: Tensor, keys: Tensor, first: int, groups: int) -> Scores:
        """Score query clips, of which the process's own begin with number `first`, by the keys (N', dim) of a step."""
        q = self._embed(self.encoder_q, query.tensor_split(groups))
        start = _process_rank() * (len(keys) // _process_count()) + first
        own = start + torch.arange(len(q), device=q.device)  # This is where a query's key lies in keys.
        with torch.autocast(query.device.type, enabled=False):
            similarity = q @ keys.T  # N x N'
            found = (similarity.argmax(dim=1) == own).float().mean()
            if self.queue is None:
                return Scores(similarity / self.temperature, own, found)
            positive = (q * keys[own]).sum(dim=1, keepdim=True)  # N x 1
            negative = q @ self.queue.clone()  # N x K; the queue may change before the backward pass
        return Scores(torch.cat([positive, negative], dim=1) / self.temperature, torch.zeros_like(own), found)

    def _embed(self, encoder: nn.Module, groups: Iterable[Tensor]) -> Tensor:
        """Embed clips that come in groups, each of which is normalised by itself."""
        return functional.normalize(torch.cat([encoder(group).flatten(1).float() for group in groups]), dim=1)

    @torch.no_grad()
    def _update_key_encoder(self) -> None:
        # A GPU gets all parameters in a few kernels.
        keys, queries = ([p.detach() for p in e.parameters()] for e in (self.encoder_k, self.encoder_q))
        torch._foreach_lerp_(keys, queries, 1 - self.momentum)

    @torch.no_grad()
    def embed_keys(self, key: Tensor) -> Tensor:
        """Let the key encoder follow, and embed the key clips (N, 3, T, H, W) of all processes: (N', dim), by rank."""
        self._update_key_encoder()
        return self._embed_shuffled(key)

    @torch.no_grad()
    def _embed_shuffled(self, key: Tensor) -> Tensor:
        """Embed clips of all processes by the key encoder.

        Batch norm is shuffled: a group of any process normalises keys of all, so that no statistics give pairs away.
        """
        count, rank = len(key), _process_rank()
        everyone = _gather_clips(key)  # N' x 3 x T x H x W
        order = torch.randperm(len(everyone), device=key.device)
        if _is_distributed():
            distributed.broadcast(order, src=0)
        mine = order[rank * count : (rank + 1) * count]
        k = _gather(self._embed(self.encoder_k, (everyone[group] for group in mine.tensor_split(self.groups))))
        return k[order.argsort()]

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put keys (N', dim) in the place of the oldest of the queue, which wraps, whatever the batch size."""
        if self.queue is None:
            return
        size = self.queue.shape[1]
        keys = keys[-size:]
        places = (self.pointer + torch.arange(len(keys), device=keys.device)) % size
        self.queue[:, places] = keys.T
        self.pointer.copy_((self.pointer + len(keys)) % size)


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _process_count() -> int:
    return distributed.get_world_size() if _is_distributed() else 1


def _process_rank() -> int:
    return distributed.get_rank() if _is_distributed() else 0


def _gather_clips(clips: Tensor) -> Tensor:
    """Join the clips (N, 3, T, H, W) of all processes by rank, with channels last in memory as views make them.

    Under autocast the encoder's first layer takes them in half precision, and so they are sent.
    """
    if not _is_distributed():
        return clips
    if torch.is_autocast_enabled(clips.device.type):
        clips = clips.to(torch.get_autocast_dtype(clips.device.type))
    return _gather(clips.movedim(1, -1)).movedim(-1, 1)


@torch.no_grad()
def _gather(x: Tensor) -> Tensor:
    """Join the tensors of all processes by rank: (N, …) -> (N', …).

    NCCL copies memory as it lies and does not look at strides, so that both sides are contiguous here: an output like
    an input with channels last would have its values in another order (pytorch/pytorch#163483).
    """
    if not _is_distributed():
        return x
    x = x.contiguous()
    everyone = x.new_empty(_process_count() * len(x), *x.shape[1:])
    distributed.all_gather_into_tensor(everyone, x)
    return everyone

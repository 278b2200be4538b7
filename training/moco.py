"""MoCo (He et al., CVPR 2020) as S²VC integrates it: eq. 6 with a momentum dictionary.

N clips of a process, N' clips of all processes, C features, K keys in the queue.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

HEADS = ("mlp", "linear")


class Scores(NamedTuple):
    """What a model says of a batch. logits: (N, classes) float32, or (N, 1 + K) with the positive in column 0.
    batch_top1: (), share of queries whose own key is the nearest of the N' keys of this step, NaN where there are none.

    Keys drift, and the newest in a queue can be told by its age; those of one step are of one age, so that batch_top1
    rises above 1 / N' only with what is learned of the clips.
    """

    logits: Tensor
    batch_top1: Tensor


def build_encoder(backbone: nn.Module, head: str, dim: int, dropout: float = 0.0) -> nn.Sequential:
    """Backbone, global average pool over space and time, and the projection head, as 1x1x1 convolutions.

    head: `mlp` (the published code: one hidden layer as wide as the features) or `linear` (the paper's text).
    dropout: of the pooled features. The keys are the published ones: `0.*` the backbone, `2.*` and `4.*` the head.
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
        pool = nn.Sequential(pool, nn.Dropout(dropout))  # in one place, so that the keys of the head stay
    return nn.Sequential(backbone, pool, *layers)


class MoCo(nn.Module):
    """Query encoder, momentum encoder, and a queue of the latest keys.

    backbone: what both encoders start from. dim: of the embeddings. queue: keys kept, K. momentum: of the key encoder.
    temperature: τ of eq. 6. groups: parts of a process's clips that are normalised apart, keys after a shuffle: were
    a query and its key normalised among the same clips, their statistics would tell the key from the queue's.
    """

    queue: Tensor
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
    ):
        super().__init__()
        self.momentum, self.temperature, self.groups = momentum, temperature, groups
        self.encoder_q = build_encoder(backbone, head, dim)
        self.encoder_k = copy.deepcopy(self.encoder_q).requires_grad_(False)
        self.register_buffer("queue", functional.normalize(torch.randn(dim, queue), dim=0))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def forward(self, query: Tensor, key: Tensor) -> Scores:
        """Clips query and key (N, 3, T, H, W) -> logits (N, 1 + K), and where the key lies among the step's."""
        q = self._embed(self.encoder_q, query)  # N x dim
        with torch.no_grad():
            self._update_key_encoder()
            k = self._embed_keys(key)  # N x dim
        with torch.autocast(query.device.type, enabled=False):
            positive = (q * k).sum(dim=1, keepdim=True)  # N x 1
            negative = q @ self.queue.clone()  # N x K; the queue changes below, before the backward pass
            everyone = _gather(k)  # N' x dim
            nearest = (q.detach() @ everyone.T).argmax(dim=1)  # N
        self._enqueue(everyone)
        own = _rank() * len(k) + torch.arange(len(k), device=k.device)
        return Scores(torch.cat([positive, negative], dim=1) / self.temperature, (nearest == own).float().mean())

    def _embed(self, encoder: nn.Module, clips: Tensor) -> Tensor:
        parts = [encoder(part).flatten(1).float() for part in clips.tensor_split(self.groups)]
        return functional.normalize(torch.cat(parts), dim=1)

    @torch.no_grad()
    def _update_key_encoder(self) -> None:
        for k, q in zip(self.encoder_k.parameters(), self.encoder_q.parameters(), strict=True):
            k.lerp_(q.detach(), 1 - self.momentum)

    @torch.no_grad()
    def _embed_keys(self, key: Tensor) -> Tensor:
        """Shuffled batch norm: a group of any process normalises keys of all, so that no statistics tell pairs."""
        count, rank = len(key), _rank()
        everyone = _gather(key)  # N' x 3 x T x H x W
        order = torch.randperm(len(everyone), device=key.device)
        if _several():
            distributed.broadcast(order, src=0)
        mine = slice(rank * count, (rank + 1) * count)
        k = _gather(self._embed(self.encoder_k, everyone[order[mine]]))
        return k[order.argsort()[mine]]

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Put keys (N', dim) in the place of the oldest ones; the queue wraps, whatever the batch size."""
        size = self.queue.shape[1]
        keys = keys[-size:]
        places = (self.pointer + torch.arange(len(keys), device=keys.device)) % size
        self.queue[:, places] = keys.T
        self.pointer.copy_((self.pointer + len(keys)) % size)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _rank() -> int:
    return distributed.get_rank() if _several() else 0


@torch.no_grad()
def _gather(x: Tensor) -> Tensor:
    """The tensors of all processes, one after another by rank: (N, …) -> (N', …)."""
    if not _several():
        return x
    parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)

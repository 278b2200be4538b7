"""Video retrieval: is a clip of the query's class among its nearest neighbours? (paper, Tables 2 and 3)"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CHUNK_VALUES = 16 << 20
"""Similarities that are held at a time, 64 MB of float32; memory is bounded by it, whatever the number of queries."""


def recall_at_k(
    query: Tensor | np.ndarray,
    query_labels: Tensor | np.ndarray,
    gallery: Tensor | np.ndarray,
    gallery_labels: Tensor | np.ndarray,
    ks: Sequence[int],
) -> dict[int, float]:
    """Share of queries with one of their class among the k most similar of the gallery, for each k.

    query (Q, C), gallery (G, C): features as given, compared by cosine similarity. Labels (Q,), (G,): integers. Of
    equally similar ones the earlier in the gallery is the nearer. A query whose class is not in the gallery is a miss.
    Raises ValueError for shapes that do not fit, no queries, and a k that is not in 1 to G.
    """
    q, g = _unit(query), _unit(gallery)
    ql, gl = (torch.as_tensor(np.asarray(labels)) for labels in (query_labels, gallery_labels))
    if q.shape[1] != g.shape[1] or ql.shape != (len(q),) or gl.shape != (len(g),):
        raise ValueError(
            f"features {tuple(q.shape)}, {tuple(g.shape)} and labels {tuple(ql.shape)}, {tuple(gl.shape)} do not fit"
        )
    if len(q) == 0:
        raise ValueError("there are no queries")
    if wrong := [k for k in ks if not 1 <= k <= len(g)]:
        raise ValueError(f"k is 1 to {len(g)}, the size of the gallery, not {wrong[0]}")
    ranks = first_hits(q, ql, g, gl)
    return {k: float((ranks < k).double().mean()) for k in ks}


def first_hits(query: Tensor, query_labels: Tensor, gallery: Tensor, gallery_labels: Tensor) -> Tensor:
    """How many of the gallery are nearer to each query than the nearest of its class: (Q,) int64; G where none is.

    Features (Q, C) and (G, C) of length 1.
    """
    step = max(1, CHUNK_VALUES // max(len(gallery), 1))
    parts = [
        _first_hits(q, labels, gallery, gallery_labels)
        for q, labels in zip(query.split(step), query_labels.split(step), strict=True)
    ]
    return torch.cat(parts)


def _first_hits(query: Tensor, query_labels: Tensor, gallery: Tensor, gallery_labels: Tensor) -> Tensor:
    similarity = query @ gallery.T  # q x G
    same = query_labels[:, None] == gallery_labels[None]
    nearest, place = similarity.masked_fill(~same, -torch.inf).max(dim=1, keepdim=True)
    # `max` may give any of several equal ones: the first is wanted.
    place = ((similarity == nearest) & same).int().argmax(dim=1, keepdim=True)
    before = torch.arange(len(gallery), device=gallery.device)[None] < place
    nearer = (similarity > nearest).sum(dim=1) + ((similarity == nearest) & before).sum(dim=1)
    return torch.where(same.any(dim=1), nearer, len(gallery))


def _unit(features: Tensor | np.ndarray) -> Tensor:
    values = torch.as_tensor(features).float()
    if values.dim() != 2:
        raise ValueError(f"features are (N, C), not {tuple(values.shape)}")
    return functional.normalize(values, dim=1)

"""Video retrieval: is a clip of the query's class among its nearest neighbours? (paper, Tables 2 and 3)"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CHUNK_VALUES = 16 << 20
"""So many similarities, 64 MB of float32, are held at a time: memory does not grow with the queries."""

PART_VALUES = 4 << 20
"""Of those, so many are gone through at a time, so few that the memory of what is made of them is used again."""

GALLERY_ROWS = 1 << 14
"""So many rows of the gallery are multiplied at a time: a product may copy all that it is given."""

MIN_LENGTH = 1e-12
"""Shorter features are taken to have this length."""


def recall_at_k(
    query: Tensor | np.ndarray,
    query_labels: Tensor | np.ndarray,
    gallery: Tensor | np.ndarray,
    gallery_labels: Tensor | np.ndarray,
    ks: Sequence[int],
) -> dict[int, float]:
    """Compute the share of queries with one of their class among the k most similar of the gallery, for each k.

    query (Q, C), gallery (G, C): features as given, compared by cosine similarity. Labels (Q,), (G,): integers. Of
    equally similar ones the earlier in the gallery is the nearer. A query whose class is not in the gallery is a miss.
    Raises ValueError for shapes that do not fit, no queries, and a k that is not in 1 to G.
    """
    ranks = hit_ranks(query, query_labels, gallery, gallery_labels)
    if wrong := [k for k in ks if not 1 <= k <= len(gallery)]:
        raise ValueError(f"k is 1 to {len(gallery)}, the size of the gallery, not {wrong[0]}")
    return {k: float((ranks < k).double().mean()) for k in ks}


def hit_ranks(
    query: Tensor | np.ndarray,
    query_labels: Tensor | np.ndarray,
    gallery: Tensor | np.ndarray,
    gallery_labels: Tensor | np.ndarray,
) -> Tensor:
    """Count how many of the gallery are nearer to each query than the nearest of its class: (Q,) int64; G where none
    is.
    Takes what `recall_at_k` takes, and raises what it raises."""
    q, g = _features(query), _features(gallery)
    ql, gl = (torch.as_tensor(np.asarray(labels)) for labels in (query_labels, gallery_labels))
    if q.shape[1] != g.shape[1] or ql.shape != (len(q),) or gl.shape != (len(g),):
        raise ValueError(
            f"features {tuple(q.shape)}, {tuple(g.shape)} and labels {tuple(ql.shape)}, {tuple(gl.shape)} do not fit"
        )
    if len(q) == 0:
        raise ValueError("there are no queries")
    # The gallery is as large as memory allows: its lengths are divided out of the similarities, not of a copy.
    blocks = g.split(GALLERY_ROWS)
    lengths = torch.cat([block.norm(dim=1) for block in blocks]).clamp_min(MIN_LENGTH)
    step = max(1, CHUNK_VALUES // max(len(g), 1))
    rows = max(1, PART_VALUES // max(len(g), 1))
    # Fresh memory for every chunk costs more than its product, and results kept between them would hold it.
    buffer, ranks = g.new_empty(min(step, len(q)), len(g)), torch.empty(len(q), dtype=torch.int64, device=g.device)
    for first in range(0, len(q), step):
        unit = functional.normalize(q[first : first + step], dim=1)
        similarity = buffer[: len(unit)]
        for block, columns in zip(blocks, similarity.split(GALLERY_ROWS, dim=1), strict=True):
            columns.copy_(unit @ block.T)
        similarity /= lengths
        for at in range(0, len(unit), rows):
            mine = slice(first + at, first + min(at + rows, len(unit)))
            ranks[mine] = _ranks(similarity[at : at + rows], ql[mine], gl)
    return ranks


def _ranks(similarity: Tensor, query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """Compute `hit_ranks` from similarities (q, G)."""
    same = query_labels[:, None] == gallery_labels[None]
    nearest = similarity.masked_fill(~same, -torch.inf).amax(dim=1, keepdim=True)
    nearer = (similarity > nearest).sum(dim=1)
    equal = similarity == nearest
    for row in (equal.sum(dim=1) > 1).nonzero()[:, 0]:
        first = int((equal[row] & same[row]).int().argmax())
        nearer[row] += equal[row, :first].sum()  # Equally similar ones count before the first of its class.
    return torch.where(same.any(dim=1), nearer, similarity.shape[1])


def _features(features: Tensor | np.ndarray) -> Tensor:
    values = torch.as_tensor(features).float()
    if values.dim() != 2:
        raise ValueError(f"features are (N, C), not {tuple(values.shape)}")
    return values

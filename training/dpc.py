"""Dense predictive coding (DPC; Han et al., ICCV workshops 2019), which predicts the features of a clip's last blocks.

A process has N clips of B blocks of T frames, P of them predicted. Features have C channels and h x w places, S = h w.
"""

import torch
from torch import Tensor, nn

from s2vc.training.moco import Scores

DROPOUT = 0.1
"""The state of the ConvGRU is dropped out at this rate at every block."""

POSITIVE, OTHER_CLIP, OTHER_TIME, OTHER_PLACE = 1, 0, -1, -3
"""These are the published numbers for what a true feature is to a predicted one: the one that is meant; one of another
clip; of the same place at another time; of another place of the clip, at any time."""


class ConvGRUCell(nn.Module):
    """Applies a gated recurrent unit at every place: x and state (N, C, h, w) -> the next state (N, C, h, w)."""

    def __init__(self, width: int):
        super().__init__()
        self.reset_gate = nn.Conv2d(2 * width, width, 1)
        self.update_gate = nn.Conv2d(2 * width, width, 1)
        self.out_gate = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        both = torch.cat([x, state], dim=1)
        reset, update = self.reset_gate(both).sigmoid(), self.update_gate(both).sigmoid()
        candidate = self.out_gate(torch.cat([x, reset * state], dim=1)).tanh()
        return torch.lerp(state, candidate, update)


class ConvGRU(nn.Module):
    """Applies one layer of the cell to features (N, B, C, h, w), block after block -> the last state, (N, C, h, w).

    The published module holds its cell twice, by a name of its own and in a list, and so do its checkpoints.
    """

    def __init__(self, width: int, dropout: float = DROPOUT):
        super().__init__()
        self.ConvGRUCell_00 = ConvGRUCell(width)
        self.cell_list = nn.ModuleList([self.ConvGRUCell_00])
        self._dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, state: Tensor | None = None) -> Tensor:
        """Go through the blocks. state: where to start from; None stands for zeros."""
        if state is None:
            state = torch.zeros_like(features[:, 0])
        for block in features.unbind(1):
            state = self._dropout(self.ConvGRUCell_00(block, state))
        return state


class DPC(nn.Module):
    """Joins a backbone, a ConvGRU, and a network that predicts the features of the next block from its state.

    backbone: has attributes feature_size, C, and block_length, which is set here. blocks, block_length, predicted: B,
    T, P. The keys are the published ones: `backbone.*`, `agg.*`, `network_pred.*`. Raises ValueError for P not in 1 to
    B - 1.
    """

    def __init__(self, backbone: nn.Module, blocks: int = 8, block_length: int = 5, predicted: int = 3):
        super().__init__()
        if not 1 <= predicted < blocks:
            raise ValueError(f"of {blocks} blocks 1 to {blocks - 1} can be predicted, not {predicted}")
        self.blocks, self.predicted = blocks, predicted
        width = int(backbone.feature_size)  # type: ignore[arg-type]
        backbone.block_length = block_length  # type: ignore[assignment]
        self.backbone = backbone
        self.agg = ConvGRU(width)
        self.network_pred = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 1))
        for name, parameter in [*self.agg.named_parameters(), *self.network_pred.named_parameters()]:
            if name.endswith("weight"):
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(self, clips: Tensor) -> Scores:
        """Score clips (N, 3, B T, H, W): logits (N P S, N P S) have a row for each predicted place and a column for
        each true one, both by clip, block and place, so that the target of row i is i.

        batch_top1: share of predicted places whose own clip's true feature is the nearest among those of the same block
        and place of all N clips; guessing reaches 1 / N.
        """
        score = self.score(clips)  # N x P x S x N x P x S
        same = torch.diagonal(torch.diagonal(score.detach(), dim1=1, dim2=4), dim1=1, dim2=3)  # N x N x P x S
        own = torch.arange(len(clips), device=score.device)[:, None, None]
        logits = score.flatten(3).flatten(0, 2)
        found = (same.argmax(dim=1) == own).float().mean()
        return Scores(logits, torch.arange(len(logits), device=logits.device), found)

    def score(self, clips: Tensor) -> Tensor:
        """Compute the dot products of predicted and true features, (N, P, S, N, P, S), by clip, block and place."""
        features = self._features(clips)
        with torch.autocast(clips.device.type, enabled=False):
            predictions = self._predictions(features[:, : -self.predicted].relu())
            found, true = (flatten_places(x) for x in (predictions, features[:, -self.predicted :]))
            return torch.einsum("npsc,mqtc->npsmqt", found, true)

    def _features(self, clips: Tensor) -> Tensor:
        """Compute the features of each block, averaged over its time, before the last ReLU: (N, B, C, h, w).

        They have the type of the weights, float32, even where the backbone computes in bfloat16.
        """
        features = self.backbone(clips).to(self.agg.ConvGRUCell_00.out_gate.weight.dtype)
        return features.unflatten(2, (self.blocks, -1)).mean(dim=3).transpose(1, 2)

    def _predictions(self, seen: Tensor) -> Tensor:
        """Predict the features of the last P blocks, (N, P, C, h, w), from those before, (N, B - P, C, h, w)."""
        state = self.agg(seen)
        found = [self.network_pred(state)]
        while len(found) < self.predicted:
            state = self.agg(found[-1].relu()[:, None], state)
            found.append(self.network_pred(state))
        return torch.stack(found, dim=1)


def flatten_places(features: Tensor) -> Tensor:
    """Reorder (N, P, C, h, w) -> (N, P, S, C)."""
    return features.flatten(3).transpose(2, 3)


def contrasts(clips: int, predicted: int, places: int) -> Tensor:
    """Tell what each column of the scores is to each row, (N, P, S, N, P, S) int8: POSITIVE, OTHER_CLIP and so on."""
    clip, time, place = (torch.eye(size, dtype=torch.bool) for size in (clips, predicted, places))
    same_clip = clip[:, None, None, :, None, None]
    same_place = place[None, None, :, None, None, :]
    kind = torch.full((clips, predicted, places) * 2, OTHER_CLIP, dtype=torch.int8)
    kind.masked_fill_(same_clip, OTHER_PLACE)
    kind.masked_fill_(same_clip & same_place, OTHER_TIME)
    return kind.masked_fill_(same_clip & same_place & time[None, :, None, None, :, None], POSITIVE)

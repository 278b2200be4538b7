"""Class activation maps (Zhou et al. 2016): how much each place of a backbone's output says for a class (Fig. 7).

A linear classifier on features that are means over places gives a class the score sum_k w_k mean_x f_k(x) + b. So the
score is the mean over places x of the map M(x) = sum_k w_k f_k(x), up to b. The classifier of `finetune` is of that
kind. That of `linear` divides the features by their length first, and normalises them; for the clip that is looked at,
whose length is known, that is a linear map as well, so that M is exact up to a constant.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.eval.probe import LinearProbe


def class_weights(classifier: LinearProbe | nn.Linear, pooled: Tensor, target: int) -> Tensor:
    """Give the weight of each channel in the score of class `target`, by which the features of a clip are multiplied.

    pooled: features (N, C) float32, means over the places of N clips. (N, C) float32. The classifier is in evaluation
    mode.
    """
    if isinstance(classifier, nn.Linear):
        return classifier.weight[target].expand_as(pooled)
    norm = classifier.norm
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    length = pooled.norm(dim=1, keepdim=True).clamp_min(1e-12)  # as torch.nn.functional.normalize has it
    return classifier.linear.weight[target] * scale / length


def class_activation(maps: Tensor, weights: Tensor) -> Tensor:
    """Sum the channels of a backbone's output (N, C, T', H', W') by their weights (N, C): (N, T', H', W') float32."""
    return torch.einsum("ncthw,nc->nthw", maps.float(), weights.float())


@dataclass(frozen=True)
class ClassifiedRows:
    """Holds a classifier on pooled features, on the device and in evaluation mode, and which of its outputs is the
    class of each row of an index that is looked at, with the class's name."""

    classifier: LinearProbe | nn.Linear
    targets: dict[int, tuple[int, str]]

    @torch.no_grad()
    def activation(self, maps: Tensor, row: int) -> Tensor:
        """Compute the activation maps of a row's class from the backbone's output (N, C, T', H', W'):
        (N, T', H', W')."""
        pooled = functional.adaptive_avg_pool3d(maps.float(), 1).flatten(1)
        return class_activation(maps, class_weights(self.classifier, pooled, self.targets[row][0]))

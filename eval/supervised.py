"""A classifier trained through all layers, fine-tuned or from scratch: its settings, and its scores."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from s2vc.eval.evaluated_backbone import RANDOM, EvaluatedBackbone, load_evaluated_backbone
from s2vc.training.backbones.checkpoints import read_checkpoint
from s2vc.training.run_folder import RunFolder

CLASSIFIER_PREFIX = "encoder_q.2."
"""The classifier's names begin so in a checkpoint of method supervised."""


def init_setting(checkpoint: str) -> str:
    """Give the setting `init` for a checkpoint that is evaluated: its path, or nothing for random weights."""
    return "" if checkpoint == RANDOM else str(Path(checkpoint).absolute())


def load_classifier(folder: RunFolder) -> tuple[EvaluatedBackbone, nn.Module]:
    """Load the backbone of a finished run, and its classifier: pooled features (N, C) -> logits (N, classes)."""
    state = cast(dict[str, Any], read_checkpoint(folder.checkpoint)["state_dict"])
    weight, bias = state[CLASSIFIER_PREFIX + "weight"], state[CLASSIFIER_PREFIX + "bias"]
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight.flatten(1))
        linear.bias.copy_(bias)
    return load_evaluated_backbone(str(folder.root)), linear.eval()


def select_label_scores(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Select scores (N, outputs) by label -> (N, len(labels)); they are 0 for labels that no output stands for."""
    known = labels < scores.shape[1]
    chosen = np.zeros((len(scores), len(labels)), scores.dtype)
    chosen[:, known] = scores[:, labels[known]]
    return chosen

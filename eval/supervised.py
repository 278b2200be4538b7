"""A classifier trained through all layers, fine-tuned or from scratch: its settings, its scores, and its best epoch."""

import copy
import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from s2vc.eval.evaluated_backbone import RANDOM, EvaluatedBackbone, load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.features import embed_windows
from s2vc.eval.labelled import LabelledRows
from s2vc.eval.view import StoredWindows
from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.training_checkpoint import write_checkpoint
from s2vc.training.backbones.checkpoints import read_checkpoint
from s2vc.training.run_folder import RunFolder, settings_in_checkpoint
from s2vc.training.settings import TrainingSettings, settings_yaml

BEST = "best.pt"
"""In the folder of a run, the weights of the epoch that was best on validation videos."""

CLASSIFIER_PREFIX = "encoder_q.2."
"""The classifier's names begin so in a checkpoint of method supervised."""


def init_setting(checkpoint: str) -> str:
    """Give the setting `init` for a checkpoint that is evaluated: its path, or nothing for random weights."""
    return "" if checkpoint == RANDOM else str(Path(checkpoint).absolute())


def load_classifier(path: Path) -> tuple[EvaluatedBackbone, nn.Linear]:
    """Load the backbone of a checkpoint of method supervised, and its classifier: pooled features (N, C) -> logits (N,
    classes).

    Raises UserError for a checkpoint of another method: where it has a head under the same name, that is no classifier.
    """
    content = read_checkpoint(path)
    if settings_in_checkpoint(content, path).get("method") != "supervised":
        raise UserError(f"{path} holds no classifier: it is no run that learned classes")
    return load_evaluated_backbone(str(path)), _linear_of(cast(dict[str, Any], content["state_dict"]))


def _linear_of(state: dict[str, Any]) -> nn.Linear:
    weight, bias = state[CLASSIFIER_PREFIX + "weight"], state[CLASSIFIER_PREFIX + "bias"]
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight.flatten(1))
        linear.bias.copy_(bias)
    linear.eval()
    return linear


def select_label_scores(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Select scores (N, outputs) by label -> (N, len(labels)); they are 0 for labels that no output stands for."""
    known = labels < scores.shape[1]
    chosen = np.zeros((len(scores), len(labels)), scores.dtype)
    chosen[:, known] = scores[:, labels[known]]
    return chosen


class BestCheckpoint:
    """Keeps, in the folder of a run that learns classes, the weights of the epoch that is best on validation videos,
    the first one of equals. A run that is resumed goes on with what is kept.

    It is called after every epoch with the model, which it leaves as it was but for its mode. path: of the checkpoint.
    epoch: whose weights are kept. share: of the validation videos that these recognise.
    """

    def __init__(self, evaluation: Evaluation, folder: RunFolder, settings: TrainingSettings, held_out: LabelledRows):
        self._evaluation, self._settings, self._held_out = evaluation, settings, held_out
        self.path = folder.root / BEST
        self.epoch, self.share = 0, -1.0
        if self.path.exists():
            kept = read_checkpoint(self.path)
            self.epoch, self.share = int(str(kept["epoch"])), float(str(kept["share"]))

    def __call__(self, model: nn.Module, epoch: int) -> None:
        state = model.state_dict()
        share = self._share_recognised(cast(nn.Module, cast(Any, model).encoder_q[0]), _linear_of(state))
        if share > self.share:
            self.epoch, self.share = epoch, share
            content = {"state_dict": state, "settings": settings_yaml(self._settings), "epoch": epoch, "share": share}
            write_checkpoint(self.path, content, epoch)

    def _share_recognised(self, backbone: nn.Module, classifier: nn.Module) -> float:
        """Compute the share of validation videos that are recognised, by the centre crops of their windows."""
        copied = dataclasses.replace(self._evaluation.evaluated, backbone=copy.deepcopy(backbone))
        evaluation, view = dataclasses.replace(self._evaluation, evaluated=copied), self._evaluation.view()
        windows = StoredWindows(evaluation.cache, self._held_out.rows, view)
        batches = embed_windows(windows, evaluation.backbone, view, evaluation.device, evaluation.readers)
        features = torch.from_numpy(np.concatenate(list(batches)))[:, 0]
        with torch.no_grad():
            scores = classifier(features).softmax(dim=1).numpy()
        first, stop = windows.offsets[self._held_out.rows], windows.offsets[self._held_out.rows + 1]
        found = [scores[a:b].mean(axis=0).argmax() for a, b in zip(first, stop, strict=True)]
        return float((np.array(found) == self._held_out.labels).mean())

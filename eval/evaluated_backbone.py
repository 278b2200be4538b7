"""The backbone that is evaluated, from a checkpoint or with random weights, and what is known of its training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from s2vc.training.backbones import BACKBONES, build_backbone
from s2vc.training.backbones.checkpoints import find_backbone, read_checkpoint
from s2vc.training.dpc_settings import DPC_METHODS, PAIR_SETTINGS

RANDOM = "random"
"""Given as a checkpoint, it means fresh weights by the seed."""

ORIGIN_SETTINGS = ("method", "head", "key_augment", "alpha", "variant", "epochs", "seed")
"""A table of results shows these settings of a run of ours."""


@dataclass(frozen=True)
class EvaluatedBackbone:
    """Holds a backbone with its weights, its name (r3d18, s3d or r2d3d18), and what is known of its training."""

    backbone: nn.Module
    name: str
    origin: dict[str, Any]


def load_evaluated_backbone(checkpoint: str, backbone: str | None = None, seed: int = 0) -> EvaluatedBackbone:
    """Load a run's folder, a checkpoint of any origin that `read_backbone` reads, or `random` (by the seed).

    backbone: asks for a certain one; None takes the one in the file (r3d18 for `random`). Raises UserError where
    there is none.
    """
    if checkpoint == RANDOM:
        name = backbone or next(iter(BACKBONES))
        torch.manual_seed(seed)
        return EvaluatedBackbone(build_backbone(name), name, {"method": RANDOM, "seed": seed})
    path = Path(checkpoint)
    name, state = find_backbone(path, backbone)
    built = build_backbone(name)
    built.load_state_dict(state)
    return EvaluatedBackbone(built, name, _origin(path / "checkpoint.pt" if path.is_dir() else path))


def _origin(path: Path) -> dict[str, Any]:
    """Read what a checkpoint of ours says of its run; nothing where it is another's."""
    try:
        settings = yaml.safe_load(str(read_checkpoint(path).get("settings", "")))
    except yaml.YAMLError:
        return {}
    if not isinstance(settings, dict):
        return {}
    meaningless = PAIR_SETTINGS if settings.get("method") in DPC_METHODS else ()
    return {key: settings[key] for key in ORIGIN_SETTINGS if key in settings and key not in meaningless}

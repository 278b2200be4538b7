"""The backbone that is evaluated, from a checkpoint or with random weights, and what is known of its training."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s2vc.training.backbones import BACKBONES, build_backbone
from s2vc.training.backbones.checkpoints import find_backbone, read_checkpoint, weights_hash
from s2vc.training.backbones.r2d3d import BLOCK_LENGTH
from s2vc.training.choices import IMAGENET_MEAN, IMAGENET_STD, RGB
from s2vc.training.dpc_settings import DPC_METHODS, PAIR_SETTINGS
from s2vc.training.run_folder import settings_in_checkpoint

RANDOM = "random"
"""Given as a checkpoint, it means fresh weights by the seed."""

WEIGHTS_DIGITS = 16
"""So many digits of the hash of the weights tell checkpoints apart that were at one path."""

ORIGIN_SETTINGS = ("method", "head", "key_augment", "alpha", "variant", "epochs", "seed")
"""A table of results shows these settings of a run of ours."""


@dataclass(frozen=True)
class EvaluatedBackbone:
    """Holds a backbone with its weights, its name (one of BACKBONES), what is known of its training, and the first
    digits of its weights' hash, as they were loaded.

    mean, std: of the channels, by which its clips are normalised. clip: size, frames and frame step of the clips that a
    run of ours was trained on; None of others.
    """

    backbone: nn.Module
    name: str
    origin: dict[str, Any]
    weights: str
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    clip: tuple[int, int, int] | None = None


def load_evaluated_backbone(checkpoint: str, backbone: str | None = None, seed: int = 0) -> EvaluatedBackbone:
    """Load a run's folder, a checkpoint of any origin that `read_backbone` reads, or `random` (by the seed).

    backbone: asks for a certain one; None takes the one in the file (r3d18 for `random`). Raises UserError where
    there is none. A run of ours says what its clips were, how long their blocks, and how they were normalised; of any
    other checkpoint ImageNet's numbers are taken.
    """
    if checkpoint == RANDOM:
        name = backbone or next(iter(BACKBONES))
        torch.manual_seed(seed)
        return _evaluated(build_backbone(name), name, {"method": RANDOM, "seed": seed})
    path = Path(checkpoint)
    name, state = find_backbone(path, backbone)
    content = read_checkpoint(path)
    settings = settings_in_checkpoint(content, path)
    built = build_backbone(name, settings.get("block_length"))
    built.load_state_dict(state)
    trained_on = _trained_on(content) if settings else {}
    mean, std = (tuple(settings.get(key, usual)) for key, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)))
    evaluated = _evaluated(built, name, _origin(settings) | trained_on)
    return dataclasses.replace(evaluated, mean=mean, std=std, clip=_clip(settings))


def block_entry(backbone: nn.Module) -> dict[str, int]:
    """Give what describes the blocks that a backbone sees by themselves, where they are not as long as usual."""
    length = getattr(backbone, "block_length", BLOCK_LENGTH)
    return {} if length == BLOCK_LENGTH else {"block_length": length}


def _evaluated(backbone: nn.Module, name: str, origin: dict[str, Any]) -> EvaluatedBackbone:
    return EvaluatedBackbone(backbone, name, origin, weights_hash(backbone.state_dict())[:WEIGHTS_DIGITS])


def _trained_on(content: dict[str, object]) -> dict[str, Any]:
    """Tell how many videos a run of ours was trained on, and which split column chose them; of older runs less."""
    kinds = {"videos": int, "split": str}
    return {f"trained_{name}": content[name] for name, kind in kinds.items() if isinstance(content.get(name), kind)}


def _clip(settings: dict[str, Any]) -> tuple[int, int, int] | None:
    size, frames, step = (settings.get(key) for key in ("size", "clip_length", "frame_step"))
    return None if size is None or frames is None or step is None else (size, frames, step)


def _origin(settings: dict[str, Any]) -> dict[str, Any]:
    """Select what a table of results shows of a run's settings."""
    meaningless = PAIR_SETTINGS if settings.get("method") in DPC_METHODS else ()
    return {key: settings[key] for key in ORIGIN_SETTINGS if key in settings and key not in meaningless}

"""Weights of a backbone, read from any checkpoint that holds them, and written. Nothing that is read is executed."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from s2vc.manifests.errors import UserError
from s2vc.training.backbones import BACKBONES, build_backbone

ENCODER_PREFIX = "encoder_q.0."

# A backbone lies under these in the published pre-training code, in its linear probe, and in a file of its own.
PREFIXES = (ENCODER_PREFIX, "base_q.", "backbone.", "")


class WrongBackbone(UserError):
    """Says that a checkpoint is one, but of another backbone."""


def read_checkpoint(path: Path) -> dict[str, object]:
    """Read a file of torch.save, as a dict of tensors and plain values. Raises UserError for anything else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # A stranger's bytes can make a reader of archives raise anything.
        raise UserError(f"{path} is damaged, or no checkpoint of plain tensors; anything else is not opened") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


def read_backbone(path: Path, name: str) -> dict[str, Tensor]:
    """Read the state dict of backbone `name` from a checkpoint, key for key what `build_backbone(name)` has.

    The file may be a run of ours, a published pre-training checkpoint (`encoder_q.0.*` or `base_q.*` under
    `state_dict`, with or without `module.`), Hara's R3D-18 (its classifier is left out), or a plain state dict. Raises
    UserError where it is something else, or holds another backbone.
    """
    content = read_checkpoint(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no weights (no state_dict)")
    tensors = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    found = _extract(tensors, name)
    if found is None:
        others = [other for other in BACKBONES if other != name and _extract(tensors, other) is not None]
        what = f"holds an {others[0]}, not an {name}" if others else f"holds no {name}"
        raise WrongBackbone(f"{path} {what}")
    if bad := [k for k, v in found.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise UserError(f"{path} holds numbers that are not finite, first in {bad[0]}")
    return found


def find_backbone(path: Path, name: str | None = None) -> tuple[str, dict[str, Tensor]]:
    """Find name and state dict of the backbone in a checkpoint, or in a run's folder; `name` asks for a certain one.

    Raises UserError where there is none.
    """
    file = path / "checkpoint.pt" if path.is_dir() else path
    if name:
        return name, read_backbone(file, name)
    for candidate in BACKBONES:
        try:
            return candidate, read_backbone(file, candidate)
        except WrongBackbone:
            continue
    raise UserError(f"{file} holds none of {', '.join(BACKBONES)}")


def _extract(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor] | None:
    """Take the backbone under the first prefix at which all of it is there, in its shapes."""
    with torch.device("meta"):
        expected = build_backbone(name).state_dict()
    for prefix in PREFIXES:
        found = {}
        for key, value in expected.items():
            tensor = tensors.get(prefix + key)
            if tensor is None and key.endswith("num_batches_tracked"):  # Torch before 0.4.1 has none.
                tensor = torch.zeros((), dtype=value.dtype)
            if tensor is None or tensor.shape != value.shape:
                break
            found[key] = tensor.to(value.dtype)
        else:
            return found
    return None


def published_format(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Arrange a state dict as the published code's evaluation reads it: `{"state_dict": {"encoder_q.0.*": …}}`."""
    return {"state_dict": {ENCODER_PREFIX + key: value for key, value in state.items()}}

"""Weights of a backbone, read from any checkpoint that holds them, and written. Nothing that is read is executed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from s2vc.manifests.errors import UserError
from s2vc.training.backbones import BACKBONES, build_backbone

ENCODER_PREFIX = "encoder_q.0."

# A backbone lies under these in the published pre-training code, in its linear probe, in MoCo's, and in a file of its
# own.
PREFIXES = (ENCODER_PREFIX, "base_q.", "backbone.", "encoder_q.backbone.", "encoder_q.", "")

STATES = ("state_dict", "model_state")
"""Weights lie under the first of these that is there; under the second in files of SlowFast and pytorchvideo."""

COUNTER = "num_batches_tracked"
"""Batch norm counts batches under this name. Nothing depends on it, and old checkpoints have none."""

NAMED_KEYS = 3
"""So many of the keys that do not fit are named."""


class WrongBackbone(UserError):
    """Says that a checkpoint is one, but of another backbone."""


def checkpoint_file(path: Path) -> Path:
    """Return the checkpoint that lies in a run's folder; another path is that of a checkpoint."""
    return path / "checkpoint.pt" if path.is_dir() else path


def read_checkpoint(path: Path) -> dict[str, object]:
    """Read a file of torch.save, or the checkpoint in a run's folder, as a dict of tensors and plain values. Raises
    UserError for anything else."""
    path = checkpoint_file(path)
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

    The file may be a run of ours, a published pre-training checkpoint (under one of PREFIXES in `state_dict`, with
    `module.` before or within it or without), one of Hara, torchvision or pytorchvideo (its classifier is left out),
    or a plain state dict. Raises UserError where it is something else, or holds another backbone, with the first keys
    that do not fit.
    """
    tensors = _tensors(path)
    found = _extract(tensors, name)
    if isinstance(found, Misfit):
        reason = found if found.share < 1 else _unknown_names(tensors)
        others = [other for other in BACKBONES if other != name and isinstance(_extract(tensors, other), dict)]
        what = f"holds weights of {others[0]}, not of {name}" if others else f"holds no {name}: {reason}"
        raise WrongBackbone(f"{path} {what}")
    if bad := [k for k, v in found.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise UserError(f"{path} holds numbers that are not finite, first in {bad[0]}")
    return found


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, without the `module.` of a model in several processes."""
    content = read_checkpoint(path)
    state = next((content[key] for key in STATES if key in content), content)
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no weights (no state_dict)")
    return {f".{k}".replace(".module.", ".").removeprefix("."): v for k, v in state.items() if isinstance(v, Tensor)}


def find_backbone(path: Path, name: str | None = None) -> tuple[str, dict[str, Tensor]]:
    """Find name and state dict of the backbone in a checkpoint, or in a run's folder; `name` asks for a certain one.

    Raises UserError where there is none, with the first keys that do not fit the nearest.
    """
    file = checkpoint_file(path)
    if name:
        return name, read_backbone(file, name)
    for candidate in BACKBONES:
        try:
            return candidate, read_backbone(file, candidate)
        except WrongBackbone:
            continue
    tensors = _tensors(file)
    misfits = {name: found for name in BACKBONES if isinstance(found := _extract(tensors, name), Misfit)}
    nearest = min(misfits, key=lambda name: misfits[name].share)
    raise UserError(
        f"{file} holds none of {', '.join(BACKBONES)}; "
        + (f"nearest is {nearest}: {misfits[nearest]}" if misfits[nearest].share < 1 else _unknown_names(tensors))
    )


@dataclass(frozen=True)
class Misfit:
    """Says why the tensors under a prefix are not a backbone. missing, reshaped: its keys that are not there, or have
    another shape; foreign: convolutions among its modules that it has no place for. share: of its keys that do not fit,
    1 where none does."""

    prefix: str
    missing: list[str]
    reshaped: list[str]
    foreign: list[str]
    share: float

    def __str__(self) -> str:
        kinds = {"lacks": self.missing, "has other shapes of": self.reshaped, "has besides": self.foreign}
        parts = [f"{word} {_some(keys)}" for word, keys in kinds.items() if keys]
        return (f"under {self.prefix!r} it " if self.prefix else "it ") + ", ".join(parts)


def _extract(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor] | Misfit:
    """Take the backbone under the first prefix at which it is, wholly and in its shapes; else say why the nearest is
    not it."""
    with torch.device("meta"):
        expected = build_backbone(name).state_dict()
    misfits = []
    for prefix in PREFIXES:
        misfit = _misfit(tensors, expected, prefix)
        if misfit is None:
            return {key: _tensor(tensors, prefix + key, value) for key, value in expected.items()}
        misfits.append(misfit)
    return min(misfits, key=lambda misfit: misfit.share)


def _misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], prefix: str) -> Misfit | None:
    """Compare the tensors under a prefix with the keys and shapes of a backbone; None where they are it."""
    needed = {key: value for key, value in expected.items() if not key.endswith(COUNTER)}
    missing = [key for key in needed if prefix + key not in tensors]
    reshaped = [k for k, value in needed.items() if prefix + k in tensors and tensors[prefix + k].shape != value.shape]
    modules = {key.split(".")[0] for key in expected}
    under = [key.removeprefix(prefix) for key in tensors if key.startswith(prefix)]
    # With the shortcuts of another ResNet, or blocks that this one lacks, the rest would be of another network. Linear
    # layers are classifiers.
    foreign = [k for k in under if k.split(".")[0] in modules and k not in expected and tensors[prefix + k].dim() > 2]
    if not (missing or reshaped or foreign):
        return None
    return Misfit(prefix, missing, reshaped, foreign, (len(missing) + len(reshaped)) / len(needed))


def _tensor(tensors: Mapping[str, Tensor], key: str, expected: Tensor) -> Tensor:
    # Torch before 0.4.1 counts no batches.
    return tensors[key].to(expected.dtype) if key in tensors else torch.zeros((), dtype=expected.dtype)


def _unknown_names(tensors: Mapping[str, Tensor]) -> str:
    """Say how a file's tensors are called where a backbone has none of these names, and how they might be."""
    prefixes = " or ".join(repr(prefix) for prefix in PREFIXES if prefix)
    return f"its tensors are {_some([*tensors]) or 'none'}; a backbone's may begin with {prefixes}"


def _some(keys: list[str]) -> str:
    """Name the first of some keys, and count the others."""
    more = len(keys) - NAMED_KEYS
    return ", ".join(keys[:NAMED_KEYS]) + (f" and {more} more" if more > 0 else "")


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Hash the names, shapes, types and values of a state dict, in its order, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for key, value in state.items():
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def published_format(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Arrange a state dict as the published code's evaluation reads it: `{"state_dict": {"encoder_q.0.*": …}}`."""
    return {"state_dict": {ENCODER_PREFIX + key: value for key, value in state.items()}}

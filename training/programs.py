"""Backbones as programs, which run without this package: TorchScript, torch.export's archives, and ONNX."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

CLIPS, FEATURES = "clips", "features"
"""Input and output of an ONNX program."""

NOTES = "backbone.json"
"""What is known of a program lies under this name in its file: text in JSON."""


def write_program(
    kind: str, backbone: nn.Module, shape: tuple[int, int, int], notes: Mapping[str, object], path: Path
) -> None:
    """Write a backbone in evaluation mode as a program: clips (N, 3, T, H, W) float32 -> features (N, C, T', H', W').

    kind: one of PROGRAMS. shape: T, H and W of the clips; N is free. notes: plain values that are kept in the file,
    under NOTES. Raises ModuleNotFoundError where ONNX is asked for and its libraries are not there.
    """
    backbone = backbone.eval().requires_grad_(False)
    PROGRAMS[kind](backbone, torch.zeros(2, 3, *shape), json.dumps(dict(notes)), path)


def _write_torchscript(backbone: nn.Module, clips: Tensor, notes: str, path: Path) -> None:
    with warnings.catch_warnings():
        # Torch deprecates TorchScript in favour of torch.export, but other programs read it. Batch norm without running
        # statistics asks whether a batch has more values than one, which every batch here has.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        program = torch.jit.trace(backbone, (clips,))
        torch.jit.save(program, str(path), _extra_files={NOTES: notes})


def _write_export(backbone: nn.Module, clips: Tensor, notes: str, path: Path) -> None:
    # By a file's ending torch knows it.
    with open(path, "wb") as file:
        torch.export.save(_exported(backbone, clips), file, extra_files={NOTES: notes})


def _write_onnx(backbone: nn.Module, clips: Tensor, notes: str, path: Path) -> None:
    import onnxscript  # noqa: F401  # Torch's own message for its absence names no extra of ours.

    with _quiet("torch.onnx"):
        program = torch.onnx.export(
            _exported(backbone, clips), (), input_names=[CLIPS], output_names=[FEATURES], dynamo=True, verbose=False
        )
    assert program is not None, "with dynamo a program is returned"
    program.model.metadata_props[NOTES] = notes
    program.save(str(path), external_data=False)


def _exported(backbone: nn.Module, clips: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(backbone, (clips,), dynamic_shapes=({0: torch.export.Dim(CLIPS)},))


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library from warning in its log of what nobody asked for: torch's exporter, that torchvision is not
    installed."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


PROGRAMS: dict[str, Callable[[nn.Module, Tensor, str, Path], None]] = {
    "torchscript": _write_torchscript,
    "pt2": _write_export,
    "onnx": _write_onnx,
}
"""By the names that `s2vc-train export --format` has for them."""

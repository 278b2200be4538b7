"""A training's checkpoint appears complete or not at all; if the disk is full, the error says how to go on."""

from pathlib import Path
from typing import Any

import torch

from s2vc.manifests.errors import Stopped
from s2vc.pipeline.storage import files


def write_checkpoint(path: Path, content: dict[str, Any], step: int) -> None:
    """Write the state after a step to a temporary file, and rename it. Raises Stopped if it cannot be written."""
    try:
        with files.attempt(path) as aside:
            torch.save(content, aside)
    except (OSError, RuntimeError) as error:  # torch reports a full disk by a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
        kept = "the one before it is whole" if path.exists() else "there is none yet"
        raise Stopped(
            f"the checkpoint of step {step} cannot be written to {path.parent} ({reason}); {kept}: "
            "make room, and run the same command again to go on"
        ) from error

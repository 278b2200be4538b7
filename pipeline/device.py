"""Where tensors are computed on."""

import torch

from manifests.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """A device by its name, by default the GPU where there is one; raises UserError where there is none such."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here: {str(error).splitlines()[0]}") from error

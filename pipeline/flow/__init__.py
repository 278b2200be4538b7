"""This package holds the normalizing flow: the model, its files, and its likelihood."""

from typing import TYPE_CHECKING

from s2vc.pipeline.flow.architecture import LATENTS, Architecture, FlowFileError
from s2vc.pipeline.lazy_names import lazy_names

if TYPE_CHECKING:
    from s2vc.pipeline.flow.checkpoints import (
        choose_dtype,
        choose_precision,
        fingerprint,
        load_flow,
        multiplies_bfloat16,
        save_flow,
        trains_in_bfloat16,
    )
    from s2vc.pipeline.flow.model import Flow

_CHECKPOINTS = [
    "choose_dtype",
    "choose_precision",
    "fingerprint",
    "load_flow",
    "multiplies_bfloat16",
    "save_flow",
    "trains_in_bfloat16",
]

__getattr__ = lazy_names(__name__, {"checkpoints": _CHECKPOINTS, "model": ["Flow"]})

__all__ = [
    "LATENTS",
    "Architecture",
    "Flow",
    "FlowFileError",
    "choose_dtype",
    "choose_precision",
    "fingerprint",
    "load_flow",
    "multiplies_bfloat16",
    "save_flow",
    "trains_in_bfloat16",
]

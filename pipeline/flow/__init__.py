"""This package holds the normalizing flow: the model, its files, and its likelihood."""

from s2vc.pipeline.flow.checkpoints import (
    FlowFileError,
    choose_dtype,
    choose_precision,
    fingerprint,
    load_flow,
    multiplies_bfloat16,
    save_flow,
)
from s2vc.pipeline.flow.model import LATENTS, Architecture, Flow

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
]

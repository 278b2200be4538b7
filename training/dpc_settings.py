"""Settings of the methods dpc and dpc-s2vc (training.dpc), whose clips consist of blocks, and what is refused."""

from typing import TYPE_CHECKING, Any

from s2vc.manifests.errors import UserError
from s2vc.pipeline.windows import MAX_CLIP
from s2vc.training.regimes import PAPER

if TYPE_CHECKING:
    from s2vc.training.settings import TrainingSettings

DPC_METHODS = ("dpc", "dpc-s2vc")

DPC_SETTINGS = ("blocks", "block_length", "predicted", "preserved")
"""No other method takes these settings, but for the length of the blocks that its backbone sees."""

PAIR_SETTINGS = ("head", "dim", "pair", "key_augment", "jitter")
"""These mean nothing to DPC, which has one clip, augmented in its own way, and no embedding."""

EARLIER_DEFAULTS = {"head": "mlp", "key_augment": "crop"}
"""Settings files of earlier versions have these values where nobody gave any."""

DPC_BACKBONE = "r2d3d18"

DPC_DEFAULTS: dict[str, Any] = {
    "regime": PAPER,
    "backbone": DPC_BACKBONE,
    "epochs": 300,  # The supplement trains so long on UCF101.
    "schedule": "constant",  # The published code never changes its learning rate.
    "warmup_epochs": 0,
}
"""These differ from the defaults of the other methods: they are DPC's paper regime."""


def method_defaults(method: object) -> dict[str, Any]:
    """Give the settings that a method has instead of the general defaults."""
    return DPC_DEFAULTS if method in DPC_METHODS else {}


def check_dpc_settings(settings: "TrainingSettings", shortest: int) -> None:
    """Raise UserError for blocks that make no clip, and for settings that the method does not have.

    shortest: the fewest frames of a clip that the backbone takes.
    """
    of_blocks = settings.method in DPC_METHODS
    for name in PAIR_SETTINGS if of_blocks else DPC_SETTINGS:
        if name == "block_length" and settings.backbone == DPC_BACKBONE:
            continue
        if is_not_default(settings, name) and getattr(settings, name) != EARLIER_DEFAULTS.get(name):
            raise UserError(f"{name} {'means nothing to' if of_blocks else 'belongs to'} --method dpc")
    if not of_blocks:
        return
    if settings.backbone != DPC_BACKBONE:
        raise UserError(f"--method {settings.method} takes --backbone {DPC_BACKBONE}, not {settings.backbone}")
    if settings.predicted >= settings.blocks:
        raise UserError(f"predicted is less than the {settings.blocks} blocks, not {settings.predicted}")
    frames = settings.blocks * settings.block_length
    if not shortest <= frames <= MAX_CLIP:
        raise UserError(f"blocks times block_length is {shortest} to {MAX_CLIP} frames, not {frames}")
    if settings.clip_length != frames:
        raise UserError(f"clip_length of {settings.blocks} blocks of {settings.block_length} frames is {frames}")
    if settings.method == "dpc" and is_not_default(settings, "preserved"):
        raise UserError("preserved belongs to --method dpc-s2vc")
    if not 0 < settings.preserved <= 1:
        raise UserError(f"preserved lies in 0 to 1, above 0, not {settings.preserved}")


def is_not_default(settings: "TrainingSettings", name: str) -> bool:
    """Say whether a setting differs from its default."""
    return bool(getattr(settings, name) != type(settings).__dataclass_fields__[name].default)

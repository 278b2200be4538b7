"""What is refused of settings that a person gives by name, since it would have no effect.

Values do not tell it: settings that a run has saved, of any version, name all of them, whatever its method.
"""

from collections.abc import Collection

from s2vc.manifests.errors import UserError
from s2vc.pipeline.choices import RANDOM_STRATEGIES
from s2vc.training.dpc_settings import DPC_BACKBONE, DPC_METHODS, DPC_SETTINGS
from s2vc.training.setting_checks import SUPERVISED_SETTINGS
from s2vc.training.settings import TrainingSettings, is_contrastive, training_variants

CONTRASTIVE_SETTINGS = (
    "head", "dim", "negatives", "queue", "queue_limit", "momentum", "temperature", "symmetric", "norm_group", "pair",
    "key_scale", "key_augment",
)  # fmt: skip
"""These are of pairs of clips, and of how their keys are told from others."""

CROP_SETTINGS = ("query_scale", "jitter")
"""These are of the augmentation that dense predictive coding has its own of."""


def refuse_without_effect(given: Collection[str], settings: TrainingSettings) -> None:
    """Raise UserError for the first of some names of settings that has no effect on a run with these settings, which
    are those of a regime, too."""
    for name in given:
        if reason := _why_without_effect(name, settings):
            raise UserError(f"{name} has no effect, and is to be left out: {reason}")


def _why_without_effect(name: str, settings: TrainingSettings) -> str:
    """Say why a setting has no effect; empty where it has one."""
    method, of_blocks = settings.method, settings.method in DPC_METHODS
    if name in CONTRASTIVE_SETTINGS and not is_contrastive(method):
        return f"it belongs to pairs of clips, and --method {method} has none"
    if name in CROP_SETTINGS and of_blocks:
        return f"--method {method} has an augmentation of its own"
    if name in SUPERVISED_SETTINGS and method != "supervised":
        return "it belongs to --method supervised"
    if name == "block_length" and settings.backbone != DPC_BACKBONE:
        return f"it belongs to --backbone {DPC_BACKBONE}"
    if name in DPC_SETTINGS and name != "block_length" and not of_blocks:
        return "it belongs to --method dpc"
    if name == "preserved" and method != "dpc-s2vc":
        return "it belongs to --method dpc-s2vc"
    if name == "flow" and method != "s2vc-online":
        return "it belongs to --method s2vc-online; others read what `s2vc-prep render` made by the cache's own flow"
    if name == "draws" and not any(v.strategy in RANDOM_STRATEGIES for v in training_variants(settings)):
        return f"it belongs to a --variant of a random strategy ({', '.join(RANDOM_STRATEGIES)})"
    if name == "queue_limit" and settings.negatives != "queue":
        return "it belongs to --negatives queue"
    if name == "decays" and settings.schedule != "step":
        return f"it belongs to --schedule step, and the schedule is {settings.schedule}"
    return "it belongs to --monitor" if name == "monitor_every" and not settings.monitor else ""

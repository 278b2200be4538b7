"""What is refused of settings that are valid one by one, and make no sense together."""

from typing import TYPE_CHECKING

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.byte_sizes import bytes_of
from s2vc.training.dpc_settings import DPC_METHODS, is_not_default

if TYPE_CHECKING:
    from s2vc.training.settings import TrainingSettings

SUPERVISED_SETTINGS = ("dropout", "backbone_lr", "still", "label", "augment")
"""Only the method supervised takes these."""


def check_scales(settings: "TrainingSettings") -> None:
    """Raise UserError for shares of the frame that are none."""
    for name in ("query_scale", "key_scale"):
        low, high = getattr(settings, name)
        if not 0 < low <= high <= 1:
            raise UserError(f"{name} is two shares with 0 < LO <= HI <= 1, not {low} {high}")


def check_combinations(settings: "TrainingSettings") -> None:
    """Raise UserError for numbers out of their range, and for settings that exclude each other."""
    if not 0 <= settings.momentum <= 1 or settings.temperature <= 0:
        raise UserError("momentum lies in 0 to 1, and temperature above 0")
    if settings.queue and settings.negatives != "queue":
        raise UserError(f"queue {settings.queue}, but negatives from the {settings.negatives}: add --negatives queue")
    if not 0 <= settings.warmup_share < 1:
        raise UserError(f"warmup_share lies in 0 to 1, below 1, not {settings.warmup_share}")
    if min(settings.std) <= 0 or not all(0 < share <= 1 for share in settings.decays):
        raise UserError(f"std lies above 0, and decays above 0 to 1, not {settings.std} and {settings.decays}")
    bytes_of(settings.local_cache_size)
    if not 0 <= settings.dropout < 1:
        raise UserError(f"dropout lies in 0 to 1, below 1, not {settings.dropout}")
    if settings.accumulate > 1 and settings.method in ("supervised", *DPC_METHODS):
        raise UserError(
            f"accumulate would change the loss of --method {settings.method}, which normalises all clips of a process "
            "together: take --activation-checkpointing, or a smaller --batch"
        )
    if settings.compile and settings.activation_checkpointing:
        raise UserError("compile and activation_checkpointing do not go together: leave one out")


def check_symmetric(settings: "TrainingSettings") -> None:
    """Raise UserError where both of a pair shall be queries, and the settings, with those of their regime, forbid."""
    if settings.symmetric and settings.method in ("supervised", *DPC_METHODS):
        raise UserError(f"symmetric belongs to pairs of clips, and --method {settings.method} has none")
    if settings.symmetric and settings.negatives != "batch":
        raise UserError("symmetric takes its negatives from the batch: add --negatives batch, or --regime small")
    if settings.symmetric and settings.accumulate > 1:
        raise UserError("symmetric and accumulate do not go together: take --activation-checkpointing for less memory")


def check_variants_given(settings: "TrainingSettings") -> None:
    """Raise UserError where a method lacks the source of its motion-preserved clips, or is given a wrong one."""
    rendered = settings.alpha or settings.keep or settings.variant
    if settings.method != "supervised":
        for name in SUPERVISED_SETTINGS:
            if is_not_default(settings, name):
                raise UserError(f"{name} belongs to --method supervised")
    if settings.method == "s2vc" and not rendered:
        raise UserError("say which key clips: --alpha 0.5, --keep 0.2 or --variant NAME (--method moco takes none)")
    if settings.method == "dpc-s2vc" and not rendered:
        raise UserError(
            "say which motion-preserved clips: --alpha 0.5, --keep 0.2 or --variant NAME (--method dpc takes none)"
        )
    if settings.method in ("moco", "supervised", "dpc") and rendered:
        raise UserError(f"--method {settings.method} takes no motion-preserved clips: leave out --alpha and the like")
    if settings.method == "s2vc-online" and (not settings.alpha or settings.keep or settings.variant):
        raise UserError("--method s2vc-online runs the flow itself: it takes --alpha only")

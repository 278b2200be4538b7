"""How a run begins: clips are opened, a regime is chosen, settings are resolved, and the folder is opened."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.flow.checkpoints import NAMES
from s2vc.training.augment import describe_normalisation
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.choices import NORMALISATIONS
from s2vc.training.clips import ClipDataset
from s2vc.training.dpc_settings import DPC_BACKBONE, method_defaults
from s2vc.training.given_settings import refuse_without_effect
from s2vc.training.methods import check_starting_weights, open_cache, open_clips
from s2vc.training.monitor import RetrievalMonitor
from s2vc.training.precision import agree_on_precision
from s2vc.training.regimes import PAPER, REGIMES, SMALL, choose_regime
from s2vc.training.run_folder import RunFolder, run_settings
from s2vc.training.schedule import total_steps
from s2vc.training.setting_checks import check_symmetric
from s2vc.training.settings import (
    AUTO,
    TrainingSettings,
    is_contrastive,
    merge_settings,
    training_variants,
)
from s2vc.training.trackers import check_trackers
from s2vc.training.trainer import OnEpoch, nothing_after_epochs


@dataclass(frozen=True)
class PreparedRun:
    """Holds what is ready to be trained. settings: resolved. notes: sentences on the regime, and on what was not done
    as asked. on_epoch: called after every epoch (training.trainer)."""

    settings: TrainingSettings
    clips: ClipDataset
    folder: RunFolder
    notes: list[str]
    on_epoch: OnEpoch = nothing_after_epochs


def prepare_run(
    layers: list[dict[str, Any]],
    out: Path | None,
    device: torch.device,
    left_out: Collection[str] = (),
    given: Collection[str] = (),
) -> PreparedRun:
    """Begin a run, or resume the one in the folder `out` (None: a folder in runs/, named by the settings).

    layers: named settings, later ones on top. left_out: ids of training videos that are not trained on. given:
    names of the settings that a person gave for this run, all of which shall have an effect. Raises UserError for
    whatever keeps the run from training.
    """
    asked = with_absolute_paths(merge_settings(*layers))
    check_trackers(asked.log)
    clips = open_clips(asked)  # No setting of a regime changes these.
    if left_out:
        clips.leave_out(left_out)
    settings, notes = resolve_settings(with_absolute_paths(with_regime(layers, len(clips))), len(clips))
    refuse_without_effect(given, settings)
    regime = describe_regime(settings, len(clips), asked.regime == AUTO)
    # A process that has used a GPU holds some of its memory to the end, and workers have it for themselves.
    trying = torch.device("cpu") if settings.workers else device
    if settings.monitor:
        RetrievalMonitor(open_cache(settings), settings, trying, 0)  # It is refused before anything is trained.
    weights = check_starting_weights(settings, trying)
    folder = RunFolder(out or Path("runs") / default_run_name(settings))
    chosen = folder.settings.exists() or any({"mean", "std"} & set(layer) for layer in layers)
    notes = [*notes, *check_normalisation(settings, chosen)]
    check_blocks(settings, folder.settings.exists() or any("block_length" in layer for layer in layers))
    precision = resolve_precision(settings.precision, folder, None if settings.workers else device)
    settings = dataclasses.replace(settings, precision=precision)
    folder.open(settings)
    folder.keep_starting_weights(weights)
    return PreparedRun(settings, clips, folder, [regime, *notes, *padding_notes(clips)])


def check_normalisation(settings: TrainingSettings, chosen: bool) -> list[str]:
    """Say in a line where clips are normalised otherwise than in the run of ours that the weights come from. Raises
    UserError where nobody chose that: the first layer would see other numbers than those that it learned from."""
    if not settings.init:
        return []
    path = Path(settings.init)
    before = run_settings(path)
    mean, std = NORMALISATIONS["imagenet"]  # Settings of earlier versions do not name theirs.
    theirs = tuple(before.get("mean", mean)), tuple(before.get("std", std))
    if not before or theirs == (settings.mean, settings.std):
        return []
    named = describe_normalisation(*theirs)
    line = f"{path} was trained on clips normalised by {named}, and here it is by "
    line += describe_normalisation(settings.mean, settings.std)
    if not chosen:
        how = f"--normalise {named}" if named in NORMALISATIONS else "--mean and --std"
        raise UserError(f"{line}: add {how} for its own, or say the other one likewise")
    return [f"warning: {line}"]


def check_blocks(settings: TrainingSettings, chosen: bool) -> None:
    """Raise UserError where the backbone shall see other blocks than those that the weights of a run of ours learned
    from, and nobody chose that."""
    if chosen or not settings.init or settings.backbone != DPC_BACKBONE:
        return
    theirs = run_settings(Path(settings.init)).get("block_length", settings.block_length)
    if theirs != settings.block_length:
        raise UserError(
            f"{settings.init} was trained on blocks of {theirs} frames, and here they have {settings.block_length}: "
            f"add --block-length {theirs} for its own, or say the other one likewise"
        )


def padding_notes(clips: ClipDataset) -> list[str]:
    """Describe in a line how many training videos are shorter than a clip; no line where none is."""
    span = (clips.clip_length - 1) * clips.frame_step + 1
    short = int((clips.videos.index["frames"] < span).sum())
    apart = f", {clips.frame_step} apart" if clips.frame_step > 1 else ""
    line = f"{short:,} of {len(clips):,} videos are shorter than a clip ({clips.clip_length} frames{apart}): "
    return [line + "they are padded on the left by their first frame"] if short else []


def resolve_precision(precision: str, folder: RunFolder, device: torch.device | None) -> str:
    """Choose the precision of a run: what is asked for; else what the run in the folder was begun in; else what the
    device has. device: None where other processes train, which have the last word (training.precision). Raises
    UserError for a precision that the device does not have."""
    if precision == AUTO:
        precision = folder.precision()
    return precision if device is None else agree_on_precision(precision, device)


def with_regime(layers: list[dict[str, Any]], videos: int) -> TrainingSettings:
    """Put layers of settings over those of their regime; they are not resolved yet. `auto` chooses the regime by the
    number of training videos; a method's own paper regime goes before the general one. Raises UserError for invalid
    settings."""
    asked = merge_settings(*layers)
    regime = asked.regime
    if regime == AUTO:
        regime = choose_regime(videos, total_steps(resolve_settings(asked, videos)[0], videos))
    own = method_defaults(asked.method) if regime == PAPER else {}
    settings = merge_settings(REGIMES[regime], own, *layers, {"regime": regime})
    check_symmetric(settings)
    return settings


def describe_regime(settings: TrainingSettings, videos: int, automatic: bool) -> str:
    """Describe the regime of resolved settings in one line. automatic: nobody asked for it, so that the small one is
    named together with the option for the other."""
    steps = "steps at " + " and ".join(f"{d:.0%}" for d in settings.decays)
    schedule = steps if settings.schedule == "step" else settings.schedule
    parts = [schedule]
    if is_contrastive(settings.method):
        negatives = "the batch" if settings.negatives == "batch" else f"a queue of {settings.queue}"
        parts = [f"negatives from {negatives}", f"momentum {settings.momentum:g}", schedule]
    total = total_steps(settings, videos)
    counts = f"{videos:,} videos, {total:,} step{'s' * (total != 1)}"
    line = f"regime {settings.regime} ({counts}): {', '.join(parts)}"
    return line + f"; --regime {PAPER} for the paper's" if automatic and settings.regime == SMALL else line


def with_absolute_paths(settings: TrainingSettings) -> TrainingSettings:
    """Make paths absolute, so that workers elsewhere, and a later run, mean the same files."""
    flow = settings.flow if settings.flow in ("cache", *NAMES) else str(Path(settings.flow).absolute())
    init = str(Path(settings.init).absolute()) if settings.init else None
    cache = open_storage(settings.cache).location
    local = str(Path(settings.local_cache).expanduser().absolute()) if settings.local_cache else None
    return dataclasses.replace(settings, cache=cache, local_cache=local, init=init, flow=flow)


def default_run_name(settings: TrainingSettings) -> str:
    """Name a run by cache, method, variants, backbone and seed."""
    variants = [v.name for v in training_variants(settings)]
    parts = [Path(open_storage(settings.cache).location).resolve().name, settings.method, *variants, settings.backbone]
    return "-".join([*parts, f"seed{settings.seed}"])

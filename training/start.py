"""How a run begins: settings made whole, clips opened, weights looked at, its folder opened; or a refusal."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.cache.opening import open_layout
from pipeline.flow.checkpoints import NAMES
from training.clips import ClipSet
from training.methods import check_weights, open_clips
from training.run import RunFolder
from training.settings import Settings, merge, wanted_variants, with_defaults_filled
from training.trainer import resolve


@dataclass(frozen=True)
class Run:
    """Ready to be trained. settings: resolved. told: sentences on what is not as it was asked for."""

    settings: Settings
    clips: ClipSet
    folder: RunFolder
    told: list[str]


def start(layers: list[dict[str, Any]], out: Path | None, device: torch.device) -> Run:
    """Begin a run, or go on with the one in the folder `out` (None: runs/, named by the settings).

    layers: of named settings, later ones on top. Raises UserError for whatever keeps it from training.
    """
    settings = with_whole_paths(with_defaults_filled(merge(*layers)))
    clips = open_clips(settings)
    settings, told = resolve(settings, len(clips))
    check_weights(settings, device)
    folder = RunFolder(out or Path("runs") / default_name(settings))
    folder.open(settings)
    return Run(settings, clips, folder, told)


def with_whole_paths(settings: Settings) -> Settings:
    """Paths from the root, so that workers elsewhere, and a later run, mean the same files."""
    flow = settings.flow if settings.flow in ("cache", *NAMES) else str(Path(settings.flow).absolute())
    init = str(Path(settings.init).absolute()) if settings.init else ""
    cache = open_layout(settings.cache).location
    local = str(Path(settings.local_cache).expanduser().absolute()) if settings.local_cache else ""
    return dataclasses.replace(settings, cache=cache, local_cache=local, init=init, flow=flow)


def default_name(settings: Settings) -> str:
    """What a run is called: cache, method, variants, backbone, seed."""
    variants = [v.name for v in wanted_variants(settings)]
    parts = [Path(open_layout(settings.cache).location).resolve().name, settings.method, *variants, settings.backbone]
    return "-".join([*parts, f"seed{settings.seed}"])

"""Two regimes of training: the paper's, and one that learns in the few hundred steps a small machine affords.

A regime is a layer of settings over the defaults and under preset, file and flags: whatever is given by name wins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

PAPER, SMALL = "paper", "small"

REGIMES: dict[str, dict[str, Any]] = {
    # This is the paper's and its code's. A queue's keys are of many ages, which takes a slow encoder and many steps.
    PAPER: {
        "negatives": "queue",
        "momentum": 0.999,
        "temperature": 0.07,
        "schedule": "step",
        "warmup_share": 0.0,  # warmup_epochs counts instead: 10, and a tenth of all at most.
        "query_scale": (0.2, 1.0),
        "key_scale": (0.2, 1.0),
    },
    # This was tried on 720 videos and 200 steps, where a queue taught nothing at either momentum.
    SMALL: {
        "negatives": "batch",  # The keys of one step are of one age, which therefore gives none away.
        "momentum": 0.99,  # The key encoder follows within hundreds of steps, not thousands.
        "temperature": 0.1,
        "schedule": "cosine",
        "warmup_share": 0.05,
        "query_scale": (0.5, 1.0),  # In smaller crops of 64 pixels little is left of what moves.
        "key_scale": (0.5, 1.0),
    },
}

PAPER_VIDEOS = 3_000
"""From this many training videos on, the paper's regime is chosen; HMDB51's splits have 3,570."""

PAPER_STEPS = 10_000
"""From this many steps of a run on it is chosen, too: they are ten times as many as momentum 0.999 remembers."""


def choose_regime(videos: int, steps: int) -> str:
    """Choose the regime that `auto` means: the paper's for sets or runs of the paper's size, else the small one."""
    return PAPER if videos >= PAPER_VIDEOS or steps >= PAPER_STEPS else SMALL


def without_overridden_shares(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Leave the share of a warm-up out of layers of settings where a later one gives its epochs: what is said last says
    how it is counted. A share in the same layer as epochs, as in settings of a run, is left there."""
    return [
        {k: v for k, v in layer.items() if k != "warmup_share" or not any("warmup_epochs" in one for one in layers[n:])}
        for n, layer in enumerate(layers, 1)
    ]

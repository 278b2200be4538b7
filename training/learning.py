"""Whether a run learns: batch top-1 compared with what guessing reaches, and what to try where it does not."""

import math
from collections import deque
from collections.abc import Sequence

from s2vc.training.run_folder import TrainingStep
from s2vc.training.settings import TrainingSettings, is_contrastive

AVERAGED_STEPS = 100
"""Batch top-1 is averaged over this many steps, the latest ones."""

STEPS_BEFORE_WARNING = 200
"""Nobody is warned before this many steps have followed the warm-up."""

MAX_STANDARD_ERRORS = 3.0
"""A mean further above chance than this is taken for learning: 1 guessing run in 700 gets there."""

LARGE_CROP = 0.5
"""A crop of this share of the frame, or more, is not what to change."""


def at_chance(batch_top1: Sequence[float], candidates: int) -> bool:
    """Say whether the mean of batch top-1s is within MAX_STANDARD_ERRORS of guessing, or below it.

    batch_top1: one for each step, over as many queries as there are candidates, the keys of the step. Where a query
    picks one of them at random, the hits are binomial with p = 1 / candidates. False for no steps, and where a share is
    NaN.
    """
    if not batch_top1 or candidates < 2:
        return False
    chance = 1 / candidates
    error = math.sqrt(chance * (1 - chance) / (len(batch_top1) * candidates))
    return sum(batch_top1) / len(batch_top1) <= chance + MAX_STANDARD_ERRORS * error


def best_before(batch_top1: Sequence[float], candidates: int) -> float | None:
    """Return the highest mean of batch top-1 that a run has lost again; None where it ends as well as it ever was.

    batch_top1: of every step, see at_chance. Means are over a tenth of the steps, AVERAGED_STEPS at least, and a mean
    is lost where the last one is lower by more than MAX_STANDARD_ERRORS of a difference between binomial shares.
    """
    length = max(AVERAGED_STEPS, len(batch_top1) // 10)
    if len(batch_top1) < 2 * length or any(map(math.isnan, batch_top1)):
        return None
    ends = range(len(batch_top1), length - 1, -length)
    last, *earlier = [sum(batch_top1[end - length : end]) / length for end in ends]
    best = max(earlier)
    pooled = (best + last) / 2
    error = math.sqrt(2 * pooled * (1 - pooled) / (length * candidates))
    return best if best - last > MAX_STANDARD_ERRORS * error else None


def candidate_count(settings: TrainingSettings) -> int:
    """Count the candidates among which batch top-1 looks for a query's own, with resolved settings: the keys of a step
    over all processes; with DPC the clips of one process, where the places of a clip count as one query."""
    return settings.batch if is_contrastive(settings.method) else settings.batch // max(settings.workers, 1)


class LearningWatch:
    """Follows the steps of a run, and warns once where batch top-1 has stayed at chance for long.

    candidates: as candidate_count counts them. warmup: steps of the warm-up.
    """

    def __init__(self, candidates: int, warmup: int):
        self._candidates, self._judged_from = candidates, warmup + STEPS_BEFORE_WARNING
        self._shares: deque[float] = deque(maxlen=AVERAGED_STEPS)
        self._warned = False

    @property
    def mean(self) -> float:
        """Average batch top-1 over the latest steps."""
        return sum(self._shares) / len(self._shares)

    def add(self, record: TrainingStep) -> bool:
        """Take in a step; True where a warning is due, which happens once."""
        self._shares.append(record.batch_top1)
        if self._warned or record.step < self._judged_from or len(self._shares) < AVERAGED_STEPS:
            return False
        self._warned = at_chance(self._shares, self._candidates)
        return self._warned


def suggestions(settings: TrainingSettings) -> str:
    """Suggest, as the end of a sentence, what has helped runs at chance and is not yet done with these settings."""
    tips = _contrastive_tips(settings) if is_contrastive(settings.method) else []
    if settings.method == "s2vc" and settings.negatives == "batch" and not settings.symmetric:
        tips.append("--symmetric")
    tips += ["more steps (--epochs)", "another --lr"]
    if settings.method in ("s2vc", "dpc-s2vc"):
        kind = "key" if settings.method == "s2vc" else "motion-preserved"
        tips.append(f"a look at the {kind} clips (s2vc-prep preview)")
    return ", ".join(tips)


def _contrastive_tips(settings: TrainingSettings) -> list[str]:
    tips = []
    if settings.negatives == "queue":
        tips.append("--regime small (or --negatives batch alone)")
    elif settings.momentum > 0.99:
        tips.append("--momentum 0.99")
    if min(settings.query_scale[0], settings.key_scale[0]) < LARGE_CROP:
        tips.append(f"larger crops (--query-scale {LARGE_CROP} 1 --key-scale {LARGE_CROP} 1)")
    return tips

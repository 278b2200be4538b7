"""Whether a run learns: batch top-1 against what guessing reaches, and what to try where it does not."""

import math
from collections import deque
from collections.abc import Sequence

from s2vc.training.run_folder import TrainingStep
from s2vc.training.settings import TrainingSettings, is_contrastive

AVERAGED_STEPS = 100
"""Steps, the latest, over which batch top-1 is averaged."""

STEPS_BEFORE_WARNING = 200
"""Steps past the warm-up, before which nobody is warned."""

MAX_STANDARD_ERRORS = 3.0
"""Standard errors above chance, from which on a mean is called above it: 1 guessing run in 700 gets there."""

LARGE_CROP = 0.5
"""Of a frame: crops of this share and more are not what to change."""


def at_chance(shares: Sequence[float], candidates: int) -> bool:
    """Whether the mean of batch top-1s is within SIGMAS standard errors of guessing, or below it.

    shares: of steps, each of as many queries as there are candidates, the keys of the step. Where a query picks one of
    them at random, the hits are binomial with p = 1 / candidates. False for no steps, and where a share is no number.
    """
    if not shares or candidates < 2:
        return False
    chance = 1 / candidates
    error = math.sqrt(chance * (1 - chance) / (len(shares) * candidates))
    return sum(shares) / len(shares) <= chance + MAX_STANDARD_ERRORS * error


def candidate_count(settings: TrainingSettings) -> int:
    """Among how many batch top-1 looks for a query's own, with resolved settings: the keys of a step, over all
    processes; with DPC the clips of one process, where the places of a clip are judged as if they were one query."""
    return settings.batch if is_contrastive(settings.method) else settings.batch // max(settings.workers, 1)


class LearningWatch:
    """Follows the steps of a run, and warns once where batch top-1 has stayed at chance for long.

    candidates: see candidates_of. warmup: steps of the warm-up.
    """

    def __init__(self, candidates: int, warmup: int):
        self._candidates, self._judged_from = candidates, warmup + STEPS_BEFORE_WARNING
        self._shares: deque[float] = deque(maxlen=AVERAGED_STEPS)
        self._warned = False

    @property
    def mean(self) -> float:
        """Batch top-1 over the latest steps."""
        return sum(self._shares) / len(self._shares)

    def add(self, record: TrainingStep) -> bool:
        """Take in a step; True where a warning is due, which is once."""
        self._shares.append(record.batch_top1)
        if self._warned or record.step < self._judged_from or len(self._shares) < AVERAGED_STEPS:
            return False
        self._warned = at_chance(self._shares, self._candidates)
        return self._warned


def suggestions(settings: TrainingSettings) -> str:
    """For a run of these settings at chance: what is not done yet of what has helped, as the end of a sentence."""
    tips = _contrastive_tips(settings) if is_contrastive(settings.method) else []
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

"""How many steps a run has, and the learning rate of each."""

import math

from s2vc.training.settings import TrainingSettings


def total_steps(settings: TrainingSettings, videos: int) -> int:
    """Count the steps of all epochs of a run with resolved settings."""
    return videos // settings.batch * settings.epochs


def warmup_steps(settings: TrainingSettings, steps: int) -> int:
    """Count the steps over which the learning rate rises, with `steps` an epoch."""
    if settings.warmup_share:
        return round(settings.warmup_share * settings.epochs * steps)
    return settings.warmup_epochs * steps


def learning_rate(settings: TrainingSettings, steps: int, done: int) -> float:
    """Compute the learning rate of the step after `done` steps, with `steps` an epoch: linear warm-up to lr, then
    decay.

    schedule `constant`: no decay. `step`: a tenth at each of `decays`. `cosine` (Loshchilov and Hutter, ICLR 2017,
    without restarts): from lr at the end of the warm-up by half a cosine to 0 at the end of the run.
    """
    total, warmup = settings.epochs * steps, warmup_steps(settings, steps)
    rate = settings.lr * min(1.0, (done + 1) / max(warmup, 1))
    if settings.schedule == "constant":
        return float(rate)
    if settings.schedule == "cosine":
        past = max(done - warmup, 0) / max(total - warmup, 1)
        return float(rate * (1 + math.cos(math.pi * past)) / 2)
    return float(rate * 0.1 ** sum(done >= round(share * total) for share in settings.decays))

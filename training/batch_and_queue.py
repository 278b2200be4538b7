"""Batch and queue of a run, as they fit the number of its training videos."""

import dataclasses

from s2vc.manifests.errors import UserError
from s2vc.training.methods import norm_group_count
from s2vc.training.settings import TrainingSettings, is_contrastive

FEW_NEGATIVES = 16
"""With fewer negatives a query finds its key too easily."""


def resolve_settings(settings: TrainingSettings, videos: int) -> tuple[TrainingSettings, list[str]]:
    """Fit batch and queue to a number of training videos, with a sentence on each that differs from what was asked for.

    A batch is as large as the set at most. Its videos are all different, so that no key of a query's own video is a
    negative within it. The automatic queue is at most a quarter of the videos, since such keys would be false
    negatives, and whole batches where one fits; one that is given stays as it is. Raises UserError for too few videos.
    """
    notes = []
    contrastive = is_contrastive(settings.method)
    processes = max(settings.workers, 1)
    batch = min(settings.batch, videos) // processes * processes
    if batch < 2 * processes:
        raise UserError(f"{processes} workers need a batch of {2 * processes} clips or more, and as many videos")
    if batch != settings.batch:
        shared = f", {processes} processes" if processes > 1 else ""
        notes.append(f"batch {settings.batch} lowered to {batch}: {videos} training videos{shared}")
    resolved = dataclasses.replace(settings, batch=batch)
    check_accumulation(resolved)
    queue = settings.queue
    if settings.negatives == "batch":
        if contrastive and batch <= FEW_NEGATIVES:
            notes.append(f"only {batch - 1} negatives, a batch's other keys: fewer than {FEW_NEGATIVES} teach little")
    elif queue is None:
        room = min(settings.queue_limit, videos // 4)
        queue = room // batch * batch or room
        if contrastive and queue < settings.queue_limit:
            notes.append(f"queue {queue}: at most a quarter of {videos} training videos")
    elif contrastive and queue > videos // 4:
        notes.append(
            f"a queue of {queue} for {videos} training videos holds keys of the query's own video, which are false "
            "negatives: without --queue it has a quarter of the videos at most"
        )
    return dataclasses.replace(resolved, queue=queue), notes


def check_accumulation(settings: TrainingSettings) -> None:
    """Raise UserError where a process's clips, of a batch that is resolved, do not make a group for each part."""
    clips, groups = settings.batch // max(settings.workers, 1), norm_group_count(settings)
    if settings.accumulate > groups:
        fits = clips // settings.accumulate
        raise UserError(
            f"accumulate {settings.accumulate} needs as many groups of clips that are normalised together; norm_group "
            f"{settings.norm_group} makes {groups} of the {clips} clips of a process: "
            + (f"--norm-group {fits} makes enough" if fits >= 2 else f"accumulate is {clips // 2} at most")
        )

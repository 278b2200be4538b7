"""What a sweep will cost, estimated before it starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from s2vc.eval.defaults import VALIDATION
from s2vc.eval.labelled import split_rows
from s2vc.eval.sweep.protocol import Protocol, find_tested_part
from s2vc.eval.validation import VALIDATION_SHARE
from s2vc.eval.view import StoredWindows, View
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.jobs.estimate import estimate_render
from s2vc.pipeline.jobs.render_job import plan_render
from s2vc.pipeline.variants import Variant
from s2vc.training.backbones import build_backbone
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.choices import TRAIN
from s2vc.training.methods import open_clips
from s2vc.training.moco import MoCo, build_encoder
from s2vc.training.schedule import total_steps
from s2vc.training.settings import TrainingSettings

TIMED_CLIPS, TIMED_STEPS = 4, 2

PASSES_PER_STEP = 4
"""A training step of a clip takes as long as so many forward passes: the query forward and backward, the key
forward."""

PASSES_OF_LABELS = 3
"""A training step on labels takes as long as so many forward passes: one forward, and backward twice as much."""

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Holds bytes on disk, and seconds on the part of this machine that a trial gets, for one trial and for the
    rendering."""

    variant_bytes: int
    run_bytes: int
    render_seconds: float
    train_seconds: float
    test_seconds: float


def plan_run(settings: TrainingSettings) -> tuple[TrainingSettings, int, int]:
    """Resolve the settings of a run for its videos; also give how many those are, and the steps of all its epochs."""
    videos = len(open_clips(settings))
    resolved, _ = resolve_settings(settings, videos)
    return resolved, videos, total_steps(resolved, videos)


def cost_of_trial(
    cache: Cache, missing: Sequence[Variant], settings: TrainingSettings, protocol: Protocol, device: torch.device
) -> Cost:
    """Time, here and now, some frames through the flow, and some steps of training on random clips.

    missing: variants of one window rule, to be rendered. settings: of one run, those that all have in common.
    """
    resolved, _, steps = plan_run(settings)
    clip_seconds = seconds_of_clip(resolved, device)
    passes = evaluation_passes(cache, resolved, protocol)
    render = [estimate_render(plan_render(cache.storage, list(missing)))] if missing else []
    return Cost(
        variant_bytes=sum(r.bytes for r in render),
        run_bytes=checkpoint_bytes(resolved),
        render_seconds=sum(r.seconds for r in render),
        train_seconds=seconds_of_training(resolved, steps, clip_seconds),
        test_seconds=passes * clip_seconds / PASSES_PER_STEP,
    )


def evaluation_passes(cache: Cache, settings: TrainingSettings, protocol: Protocol) -> float:
    """Count the windows that the evaluation of a trial puts through the backbone, forward. settings: resolved."""
    other = Cache(protocol.cache, settings.local_cache or "", settings.local_cache_size) if protocol.cache else None
    passes = 0.0
    for part in protocol.parts:
        size, frames = protocol.windows_of(part.task, settings.size, settings.clip_length)
        spread = protocol.retrieval_clips if part.task == "retrieval" else None
        view = View(size, frames, settings.frame_step, clips=spread)
        split = (part.split or protocol.splits[0]) if other else settings.split
        tested_part = find_tested_part(other or cache, split, part.task)
        rows = [split_rows(other or cache, split, name)[1] for name in (TRAIN, tested_part)]
        train, test = (len(StoredWindows(other or cache, chosen, view)) for chosen in rows)
        if part.tested == VALIDATION:
            train, test = round(train * (1 - VALIDATION_SHARE)), round(train * VALIDATION_SHARE)
        learned, tested = crops_of(part.task, protocol)
        work = frames / settings.clip_length * (size / settings.size) ** 2  # A clip of training is the unit.
        passes += (learned * train + tested * test) * work
        if part.task == "finetune":
            passes += PASSES_OF_LABELS * protocol.finetune_epochs * len(rows[0]) * work
    return passes


def crops_of(task: str, protocol: Protocol) -> tuple[int, int]:
    """Count the crops of a window that a task puts through the backbone, of training and of test videos. Views of the
    linear probe are kept, or drawn anew in every epoch; fine-tuning learns besides."""
    if task == "linear":
        return protocol.train_views or protocol.linear_epochs, 10
    return {"retrieval": (1, 1), "order": (2, 2), "finetune": (0, 10)}[task]


def seconds_of_training(settings: TrainingSettings, steps: int, clip_seconds: float) -> float:
    """Compute the seconds of a run's steps. settings: resolved. clip_seconds: as seconds_of_clip times them; in a
    symmetric step both clips of a pair are query and key, which is the work of two."""
    return steps * settings.batch * clip_seconds * (2 if settings.symmetric else 1)


def seconds_of_clip(settings: TrainingSettings, device: torch.device) -> float:
    """Time a training step on random clips, for each of them, queries looking for keys only; the first step warms
    up."""
    model = MoCo(build_backbone(settings.backbone), settings.head, settings.dim, queue=64, groups=2)
    model = model.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    clips = torch.randn(TIMED_CLIPS, 3, settings.clip_length, settings.size, settings.size, device=device)
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    for step in range(1 + TIMED_STEPS):
        if step == 1:
            started = time.perf_counter()
        model(clips, clips).logits.sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / TIMED_STEPS / TIMED_CLIPS


def checkpoint_bytes(settings: TrainingSettings) -> int:
    """Count the bytes of query and key encoder, and of Adam's two moments of the query encoder."""
    with torch.device("meta"):
        encoder = build_encoder(build_backbone(settings.backbone), settings.head, settings.dim)
    return 4 * sum(p.numel() for p in encoder.parameters()) * FLOAT_BYTES

"""This module estimates what a render will cost before it starts."""

import time
from dataclasses import dataclass

import torch

from s2vc.pipeline.flow.architecture import LATENTS
from s2vc.pipeline.jobs.render_job import RenderJob
from s2vc.pipeline.processors import available_cpus
from s2vc.pipeline.stages.encode_shard import cache_flow

BYTES_PER_FRAME = LATENTS
"""A correction is one byte a value before compression; gzip takes off a quarter to a half."""

TIMED_FRAMES = 32


@dataclass(frozen=True)
class Estimate:
    """This is the estimated cost of a render.

    bytes: on disk, at most. seconds: on `cores` CPU cores of this machine, for the flow's decoding alone; 0 where
    nothing is decoded by the flow, as with tfd. seconds_per_frame: on one core.
    """

    bytes: int
    seconds: float
    seconds_per_frame: float
    cores: int


def estimate_render(job: RenderJob) -> Estimate:
    """Estimate bytes from the format, and time from decoding a few frames here and now with the cache's flow.

    The cores are those that this process may use, job.workers of them at most.
    """
    flow = cache_flow(job.storage.fetch(job.storage.layout.flow), job.settings, "cpu")
    z = torch.randn(TIMED_FRAMES, LATENTS, generator=torch.Generator().manual_seed(0))
    flow.decode(z[:8])
    started = time.perf_counter()
    flow.decode(z)
    per_frame = (time.perf_counter() - started) / TIMED_FRAMES
    available = available_cpus()
    cores = min(available, job.workers or available)
    return Estimate(job.frames_left * BYTES_PER_FRAME, job.frames_to_decode * per_frame / cores, per_frame, cores)

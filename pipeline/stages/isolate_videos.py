"""This module finds videos that kill their worker: each video of a shard is ingested alone, in a process of its own."""

import multiprocessing
import os
import signal
import tempfile
import traceback
from pathlib import Path

from s2vc.pipeline.cache.frames import write_frames
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.stages.ingest_shard import Source, StorageError, ingest_shard, ingest_video
from s2vc.pipeline.storage.files import ATTEMPT


class NoCulprit(RuntimeError):
    """A shard cannot be ingested, though each of its videos can: memory is too small, or somebody kills workers."""


def ingest_without_culprits(
    layout: Layout, settings: Settings, shard: int, sources: list[Source], root: Path, silence: float
) -> Receipt:
    """Ingest a shard that killed its worker every time: find the videos that do it, then leave them out.

    Raises NoCulprit if no single video does it.
    """
    culprits = find_culprits(layout, settings, sources, root, silence)
    if not culprits:
        raise NoCulprit("it kills its worker every time, and no single video of it does")
    return ingest_shard(layout, settings, shard, sources, root, silence, culprits)


def find_culprits(
    layout: Layout, settings: Settings, sources: list[Source], root: Path, silence: float
) -> dict[str, str]:
    """Return video_id -> reason for the videos whose process did not survive them; what they wrote is thrown away.

    Raises StorageError if a process fails in a way that says nothing about the video, and NoCulprit if the kernel has
    killed something meanwhile because memory ran out.
    """
    culprits = {}
    context = multiprocessing.get_context("spawn")
    layout.frames(0).parent.mkdir(parents=True, exist_ok=True)
    for source in sources:
        alone = f"alone{ATTEMPT}{os.getpid()}-"
        with tempfile.TemporaryDirectory(dir=layout.frames(0).parent, prefix=alone) as scratch:
            child = context.Process(
                target=_ingest_alone, args=(source, root, settings, Path(scratch), silence), daemon=True
            )
            before = count_out_of_memory_kills()
            child.start()
            child.join()
        if child.exitcode is not None and child.exitcode < 0:
            name = signal.Signals(-child.exitcode).name
            if name == "SIGKILL" and count_out_of_memory_kills() > before:
                raise NoCulprit(f"memory ran out while {source.video_id} was read alone")
            culprits[source.video_id] = f"it takes the process that reads it with it ({name}), every time"
        elif child.exitcode != 0:
            raise StorageError(f"{source.video_id} alone could not be read either; see the worker's log")
    return culprits


def count_out_of_memory_kills() -> int:
    """Return how many processes this machine's kernel has killed because memory ran out, in containers as well."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    except OSError:  # this is not Linux
        return 0
    return int(counters.get("oom_kill", 0))


def _ingest_alone(source: Source, root: Path, settings: Settings, scratch: Path, silence: float) -> None:
    try:
        with write_frames(scratch / "frames.h5", scratch / "small.h5") as writer:
            writer.begin(source.video_id)
            ingest_video(source, root, settings, writer, scratch, silence)
    except OSError:
        traceback.print_exc()
        # The process ends at once: HDF5 crashes at the end of one that could not write a file, and the video would be
        # blamed.
        os._exit(1)

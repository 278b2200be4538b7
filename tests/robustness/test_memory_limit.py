"""A container's limit on memory: the kernel kills who reads a video, and the video is not blamed for it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.stages.ingest_shard import Source
from s2vc.pipeline.stages.isolate_videos import NoCulprit, count_out_of_memory_kills, find_culprits
from tests.support.clips import moving_square, write_clip

GROUPS = Path("/sys/fs/cgroup/memory")
LIMIT = 100 << 20
"""Bytes: a Python with PyTorch in it needs more, whatever the video."""


@pytest.fixture
def limited() -> Iterator[Path]:
    """A control group with little memory, as containers and batch systems have them."""
    group = GROUPS / f"s2vc-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"needs to limit memory by a control group (version 1), which is not permitted here: {error}")
    yield group
    # Whoever was in it is gone a moment later.
    for _ in range(100):
        with contextlib.suppress(OSError):
            return group.rmdir()
        time.sleep(0.1)


def limit_children(group: Path) -> None:
    """Whom this process starts is put into the group, at once; this process itself is not."""
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(OSError):
                (group / "cgroup.procs").write_text(str(child.pid))
        time.sleep(0.005)


def read_alone(folder: Path, group: Path) -> None:
    """In a process of its own: look for the video that kills its reader, which is in the group."""
    threading.Thread(target=limit_children, args=(group,), daemon=True).start()
    layout = Layout(folder / "cache")
    layout.frames(0).parent.mkdir(parents=True)
    settings = Settings((64, 86), 95, 1, 1, "none", "", "float32", (1,))
    before = count_out_of_memory_kills()
    try:
        print("culprits:", find_culprits(layout, settings, [Source("a.mp4", "a.mp4")], folder, 60.0))
    except NoCulprit as error:
        print("nobody:", error)
    print(count_out_of_memory_kills() - before, "killed for memory")


def test_a_reader_that_the_kernel_kills_for_memory_blames_no_video(limited: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", moving_square(10))
    code = (
        "from pathlib import Path; from tests.robustness.test_memory_limit import read_alone; "
        f"read_alone(Path({str(tmp_path)!r}), Path({str(limited)!r}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    lines = done.stdout.splitlines()
    assert lines[-1:] == ["1 killed for memory"], done.stdout + done.stderr
    assert lines[0] == "nobody: memory ran out while a.mp4 was read alone"

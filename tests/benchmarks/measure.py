"""Provide what the benchmarks share: a line about the machine, alternating timings, their ratios, and real videos."""

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2vc.manifests.sample import draw_sample
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.stages.video import decode_video, write_video
from tests.support.clips import write_clip

SHARED = Path(__file__).parents[3] / "shared" / "data"
SIZE = (128, 171)


def machine() -> str:
    """Describe the processor, its cores and AMX, and torch's version, without which a figure means little."""
    info = Path("/proc/cpuinfo")
    names = [s for s in info.read_text().splitlines() if s.startswith("model name")] if info.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.processor()
    amx = "yes" if torch.cpu._is_amx_tile_supported() else "no"
    return f"{name}, {os.cpu_count()} cores, AMX {amx}, torch {torch.__version__}"


def print_machine() -> None:
    print(f"machine: {machine()}")


def print_row(what: str, figure: str, ratio: float | None = None, target: str = "") -> None:
    """Print a row: what was measured, its figure and, if given, a ratio and the target."""
    shown = f"{ratio:8.3g}x" if ratio is not None else " " * 9
    print(f"  {what:<52} {figure:>24} {shown}  {f'target {target}' if target else ''}".rstrip(), flush=True)


def seconds(function: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def alternate(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each function; all of them are called in turn, `repeats` times."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median over the rounds of above / below.

    It is taken round by round, so that a machine that slows down midway slows down both.
    """
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder, which is removed when the block ends, also by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="s2vc-benchmark-") as folder:
        yield Path(folder)


def real_clips(kind: str, folder: Path) -> list[Path]:
    """Return the clips of ../shared/data/KIND ("interaction", "street"), or draw some in `folder` if it is missing."""
    found = sorted(p for p in (SHARED / kind).glob("*/*") if p.suffix in (".avi", ".mp4"))
    print(f"videos: {len(found)} real clips of {kind}" if found else f"videos: drawn ({SHARED / kind} is missing)")
    return found or [write_sample(folder, v.video_id, v.frames) for v in draw_sample(2, 96)]


def write_sample(folder: Path, video_id: str, frames: np.ndarray) -> Path:
    write_clip(folder / video_id, frames, "24")
    return folder / video_id


def long_video(path: Path, clips: Sequence[Path], frames: int, size: tuple[int, int]) -> Path:
    """Write an H.264 MP4 of `frames` frames of `size` (height, width) by joining the clips, again and again."""
    left = frames
    with write_video(path, *size, "25") as write:

        def take(part: np.ndarray) -> None:
            nonlocal left
            if left:
                write(part[:left])
                left -= len(part[:left])

        for clip in cycle(clips):
            if left == 0:
                return path
            decode_video(clip, *size, take)
    raise ValueError("there are no clips")


def settings(videos: int, shard_size: int) -> Settings:
    """Return settings for ingest that is called without a job; it needs no flow."""
    return Settings(SIZE, 95, 1, shard_size, "none", "", "float32", (videos,))


def prep(*arguments: object) -> list[str]:
    """Return the command line that runs `s2vc-prep` with this Python."""
    return [sys.executable, "-c", "from s2vc.pipeline.cli import main; main()", *map(str, arguments)]


@contextmanager
def started_prep(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start `s2vc-prep` with all its output in one pipe; it is terminated if the block ends with an error."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(prep(*arguments), env=environment, **pipes) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def run_prep(*arguments: object) -> tuple[float, float]:
    """Run `s2vc-prep` as a user does; return the seconds until it prints what there is to do, when Ray runs, and until
    its end. Raises RuntimeError if it fails."""
    started, first = time.perf_counter(), 0.0
    with started_prep(*arguments) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            if any(t in line for t in (" to do in ", " to render in ")):
                first = time.perf_counter() - started
            said.append(line)
    if process.returncode != 0:
        raise RuntimeError(f"s2vc-prep ended with {process.returncode}: {''.join(said)}")
    return first, time.perf_counter() - started


def stages(manifest: Path, place: object, shard_size: int, *options: object) -> dict[str, float]:
    """Return the seconds of a whole encode and of a whole render at alpha 0.5, from when Ray runs until the end."""
    encode = [manifest, "--out", place, "--root", manifest.parent, "--shard-size", shard_size]
    times = {}
    for stage, arguments in (("encode", encode), ("render", [place, "--alpha", 0.5])):
        start, whole = run_prep(stage, *arguments, *options)
        times[stage] = whole - start
    return times


def write_manifest(path: Path, videos: Sequence[Path], root: Path) -> Path:
    """Write a manifest with a row, and an id of its own, for each occurrence of a video; return the manifest's path."""
    rows = [f"v{n:05d},{video.relative_to(root)},0,any,train" for n, video in enumerate(videos)]
    path.write_text("\n".join(["video_id,path,label,class_name,split1", *rows]) + "\n")
    return path


def one_thread() -> None:
    """Let torch use one core, as in a worker of Ray."""
    torch.set_num_threads(1)

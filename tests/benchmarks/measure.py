"""What the benchmarks share: one line on the machine, alternating timings, ratios of one run, and real videos."""

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
    """Processor, cores, AMX, torch: a figure means little without them."""
    info = Path("/proc/cpuinfo")
    names = [s for s in info.read_text().splitlines() if s.startswith("model name")] if info.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.processor()
    amx = "yes" if torch.cpu._is_amx_tile_supported() else "no"
    return f"{name}, {os.cpu_count()} cores, AMX {amx}, torch {torch.__version__}"


def print_machine() -> None:
    print(f"machine: {machine()}")


def print_row(what: str, figure: str, ratio: float | None = None, target: str = "") -> None:
    """A row: what was measured, its figure, and, where there is one, the ratio and its target."""
    shown = f"{ratio:8.3g}x" if ratio is not None else " " * 9
    print(f"  {what:<52} {figure:>24} {shown}  {f'target {target}' if target else ''}".rstrip(), flush=True)


def seconds(function: Callable[[], Any]) -> float:
    """Of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def alternate(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each function, all of them called in turn, `repeats` times over."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over the rounds of above / below, so that a machine that slows down midway slows down both."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for the time of the block, gone as well when we are asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="s2vc-benchmark-") as folder:
        yield Path(folder)


def real_clips(kind: str, folder: Path) -> list[Path]:
    """The clips of ../shared/data/KIND ("interaction", "street") or, where it is missing, drawn ones in folder."""
    found = sorted(p for p in (SHARED / kind).glob("*/*") if p.suffix in (".avi", ".mp4"))
    print(f"videos: {len(found)} real clips of {kind}" if found else f"videos: drawn ({SHARED / kind} is missing)")
    return found or [write_sample(folder, v.video_id, v.frames) for v in draw_sample(2, 96)]


def write_sample(folder: Path, video_id: str, frames: np.ndarray) -> Path:
    write_clip(folder / video_id, frames, "24")
    return folder / video_id


def long_video(path: Path, clips: Sequence[Path], frames: int, size: tuple[int, int]) -> Path:
    """An H.264 MP4 of that many frames, (height, width), the clips end to end, over and over."""
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
    """For ingest that is called without a job around it, which asks for no flow."""
    return Settings(SIZE, 95, 1, shard_size, "none", "", "float32", (videos,))


def prep(*arguments: object) -> list[str]:
    """The command line of `s2vc-prep`, in this Python."""
    return [sys.executable, "-c", "from s2vc.pipeline.cli import main; main()", *map(str, arguments)]


@contextmanager
def started_prep(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`s2vc-prep` with all it says in one pipe; asked to end where the block does before its time."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(prep(*arguments), env=environment, **pipes) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def run_prep(*arguments: object) -> tuple[float, float]:
    """Run `s2vc-prep` as a user does: seconds until it says what is to do, when Ray is up, and until its end."""
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
    """Seconds of a whole encode and of a whole render at 0.5, from when Ray is up until the end."""
    encode = [manifest, "--out", place, "--root", manifest.parent, "--shard-size", shard_size]
    times = {}
    for stage, arguments in (("encode", encode), ("render", [place, "--alpha", 0.5])):
        start, whole = run_prep(stage, *arguments, *options)
        times[stage] = whole - start
    return times


def write_manifest(path: Path, videos: Sequence[Path], root: Path) -> Path:
    """A manifest with a row for each video, one that occurs several times under as many names."""
    rows = [f"v{n:05d},{video.relative_to(root)},0,any,train" for n, video in enumerate(videos)]
    path.write_text("\n".join(["video_id,path,label,class_name,split1", *rows]) + "\n")
    return path


def one_thread() -> None:
    """As in a worker of Ray: torch keeps to one core."""
    torch.set_num_threads(1)

"""Compare the ingest of long videos with ffmpeg alone, which decodes and scales the same files and drops the frames.

python -m tests.benchmarks.ingest [--frames 3000] [--repeats 5]
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.stages.ffmpeg_process import ffmpeg_binary
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from tests.benchmarks.measure import (
    SIZE,
    alternate,
    long_video,
    one_thread,
    print_machine,
    print_row,
    ratio,
    real_clips,
    scratch,
    settings,
)


def ingest(cache: Path, shard: int, videos: list[Path]) -> None:
    """Ingest the videos as one shard of a cache, in this process."""
    sources = [Source(v.name, v.name) for v in videos]
    receipt = ingest_shard(Layout(cache), settings(len(videos), len(videos)), shard, sources, videos[0].parent)
    assert all(v.status == "ok" for v in receipt.videos), receipt


def start_ffmpeg(video: Path) -> subprocess.Popen[bytes]:
    """Start an ffmpeg that decodes a video with one thread, scales the frames and drops them."""
    scale = ["-vf", f"scale={SIZE[1]}:{SIZE[0]}", "-f", "null", "-"]
    command = [ffmpeg_binary(), "-nostdin", "-v", "error", "-threads", "1", "-i", str(video), *scale]
    return subprocess.Popen(command)


def finish(process: subprocess.Popen[bytes]) -> None:
    assert process.wait() == 0


def compare(videos: list[Path], cache: Path, frames: int, repeats: int) -> None:
    """Compare both on one core, one video after another, and then with a process for each video."""

    def peer_apart() -> None:
        for video in videos:
            finish(start_ffmpeg(video))

    def peer_together() -> None:
        for process in [start_ffmpeg(video) for video in videos]:
            finish(process)

    with ProcessPoolExecutor(len(videos), multiprocessing.get_context("spawn"), one_thread) as pool:

        def ours_together() -> None:
            list(pool.map(ingest, [cache] * len(videos), range(len(videos)), [[v] for v in videos]))

        ours_together()  # starts the processes
        ingest(cache, 0, videos)
        both = [
            ("one core", {"ffmpeg": peer_apart, "ingest": lambda: ingest(cache, 0, videos)}),
            (f"{len(videos)} processes", {"ffmpeg": peer_together, "ingest": ours_together}),
        ]
        for load, functions in both:
            times = alternate(functions, repeats)
            for name, spent in times.items():
                ours = ratio(times["ffmpeg"], spent) if name == "ingest" else None
                speed = frames / statistics.median(spent)
                print_row(f"{name}, {load}", f"{speed:.0f} frames/s", ours, "0.7x" if ours else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3000, help="of each video")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 640), metavar=("H", "W"))
    options = parser.parse_args()
    print_machine()
    one_thread()
    count = min(os.cpu_count() or 1, 2)
    with scratch() as folder:
        clips = real_clips("street", folder)
        part = len(clips) // count
        videos = [
            long_video(folder / f"{k}.mp4", clips[k * part : (k + 1) * part], options.frames, tuple(options.size))
            for k in range(count)
        ]
        megabytes = sum(v.stat().st_size for v in videos) / 1e6
        print(f"{count} videos of {options.frames} frames, {options.size[1]}x{options.size[0]}, {megabytes:.0f} MB")
        compare(videos, folder / "cache", count * options.frames, options.repeats)
        shutil.rmtree(folder / "cache")


if __name__ == "__main__":
    main()

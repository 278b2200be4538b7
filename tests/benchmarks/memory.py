"""Compare the peak memory of encode and of render for a long video and a short one, less that of an empty run.

python -m tests.benchmarks.memory [--long 20000] [--short 1000] [--flow default]

Memory is the sum of PSS of the command and all processes it started, Ray included, measured five times a second.
Without --flow a tiny, untrained flow is used, since only the pipeline's memory could grow with the video, and a large
flow would take most of the time.
"""

import argparse
import threading
import time
from pathlib import Path

import psutil

from s2vc.pipeline.flow import Architecture, Flow, save_flow
from tests.benchmarks.measure import (
    long_video,
    print_machine,
    print_row,
    real_clips,
    scratch,
    started_prep,
    write_manifest,
)

INTERVAL = 0.2
FAILED_VIDEOS = 3
"""An encode with failed videos ends with this exit code, and so does the empty run."""


def summed_pss(process: psutil.Process) -> int:
    """Return the bytes of a process and all its descendants, each shared page counted once."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return total


def peak(*arguments: object, codes: tuple[int, ...] = (0, FAILED_VIDEOS)) -> tuple[float, float]:
    """Run `s2vc-prep`; return the peak of its summed PSS in MB, and its seconds.

    Raises RuntimeError if its exit code is none of `codes`.
    """
    started, largest = time.perf_counter(), 0
    with started_prep(*arguments) as process:
        assert process.stdout is not None
        said: list[str] = []
        reader = threading.Thread(target=said.extend, args=(process.stdout,))
        reader.start()
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                largest = max(largest, summed_pss(watched))
            except psutil.NoSuchProcess:
                break
            time.sleep(INTERVAL)
        reader.join()
    if process.returncode not in codes:
        raise RuntimeError(f"s2vc-prep ended with {process.returncode}: {''.join(said)[-2000:]}")
    return largest / 1e6, time.perf_counter() - started


def compare(stage: str, peaks: dict[str, tuple[float, float]]) -> None:
    """Print a row for each run, and the ratio of what the long and the short run take more than the empty one."""
    (_, (empty, _)), (short, (short_peak, _)), (long, (long_peak, _)) = peaks.items()
    for name, (megabytes, spent) in peaks.items():
        print_row(f"{stage}, {name}", f"{megabytes:.0f} MB, {spent:.0f} s")
    more = f"{long_peak - empty:.0f} / {short_peak - empty:.0f} MB"
    print_row(f"{stage}, {long} / {short}, beyond nothing", more, (long_peak - empty) / (short_peak - empty), "<= 1.5x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", type=int, default=20_000)
    parser.add_argument("--short", type=int, default=1_000)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 128), metavar=("H", "W"), help="of the videos")
    parser.add_argument("--flow", help="'default' or a file; without it a tiny, untrained one")
    parser.add_argument("--alpha", type=float, default=0.1)
    options = parser.parse_args()
    print_machine()
    with scratch() as folder:
        clips = real_clips("street", folder)
        flow = options.flow or str(folder / "tiny.safetensors")
        if not options.flow:
            save_flow(Flow(Architecture(4, 4, 1, 1, 1)), flow)
            print("flow: an untrained, tiny one (see --flow)")
        videos = {f"{n} frames": folder / f"{n}.mp4" for n in (1, options.short, options.long)}
        for path in videos.values():
            long_video(path, clips, int(path.stem), tuple(options.size))

        def encode(video: Path) -> tuple[float, float]:
            manifest = write_manifest(folder / f"{video.stem}.csv", [video], folder)
            common = ("--root", folder, "--flow", flow, "--precision", "float32")
            return peak("encode", manifest, "--out", folder / f"cache-{video.stem}", *common)

        one, *others = videos
        encode(videos[one])
        encoded = {"nothing (a missing video)": encode(folder / "missing.mp4")}
        encoded |= {name: encode(videos[name]) for name in others}
        compare("encode", encoded)
        caches = {name: folder / f"cache-{path.stem}" for name, path in videos.items()}
        compare("render", {name: peak("render", cache, "--alpha", options.alpha) for name, cache in caches.items()})


if __name__ == "__main__":
    main()

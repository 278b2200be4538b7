"""Compare the ways of storing latents, float32, float16 and q8: bytes, rendered pixel error, flipped masks and speed.

python -m tests.benchmarks.latents [--data FOLDER ...] [--clips 20] [--frames 128] [--alpha 0.5] [--repeats 3]

Clips are evenly spaced in each folder. The pixel error is how far f⁻¹(z_p) - X', before it is rounded for storing, is
from that of float32 latents. Masks of scope video come from STDs of latents before rounding and cannot flip; those of
scope clip can.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2vc.pipeline.cache.corrections import WindowRecord
from s2vc.pipeline.cache.latents import create_root, read_latents
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.quantise import FLOAT32, KINDS
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.flow import fingerprint, load_flow, save_flow
from s2vc.pipeline.stages.encode_shard import cache_flow, encode_shard
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from s2vc.pipeline.stages.render_shard import Window, render_windows, shard_windows
from s2vc.pipeline.static_cues import standard_deviation
from s2vc.pipeline.variants import Variant
from tests.benchmarks.measure import SHARED, one_thread, print_machine, scratch, settings

ENDINGS = (".avi", ".mp4", ".mov", ".mkv", ".webm")
_, CLIP = SCOPES = ("video", "clip16")


@dataclass
class Collected:
    """Takes what rendering would store and keeps it: the changes (n, 64, 64, 3) float32 of each window."""

    changes: list[np.ndarray] = field(default_factory=list)

    def add(self, record: WindowRecord, peak: float, changes: Iterator[np.ndarray]) -> None:
        self.changes.append(np.concatenate(list(changes)))


@dataclass
class Measured:
    """Holds the measurements of one way to store latents.

    rates: frames per second of processor time in each round, by what was done. worst, total, values: the largest pixel
    error, the sum of the errors and their number, by scope. flips: the share of latents whose mask flips, by window.
    """

    bytes_per_frame: float = 0.0
    rates: dict[str, list[float]] = field(default_factory=lambda: {"encode": [], "render": [], "read": []})
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SCOPES, 0.0))
    total: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SCOPES, 0.0))
    values: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SCOPES, 0))
    flips: list[float] = field(default_factory=list)


def ingested(clips: Sequence[Path], root: Path, layout: Layout) -> tuple[Settings, Receipt]:
    """Make a cache of one shard with these clips, ingested but not encoded, and the built-in flow."""
    flow = load_flow("default")
    save_flow(flow, layout.flow)
    create_root(layout.all_latents)
    chosen = replace(settings(len(clips), len(clips)), flow_fingerprint=fingerprint(flow))
    sources = [Source(f"v{n:05d}", str(clip.relative_to(root))) for n, clip in enumerate(clips)]
    return chosen, ingest_shard(layout, chosen, 0, sources, root)


def busy(function: Callable[[], Any]) -> float:
    """Return the seconds of processor time of one call, so that other programs on the machine do not count."""
    started = time.process_time()
    function()
    return time.process_time() - started


def encoded(layout: Layout, chosen: Settings, kind: str, measured: Measured, frames: int) -> None:
    """Encode the shard, read its latents, and add bytes and speeds to what was measured."""
    spent = busy(lambda: encode_shard(layout, replace(chosen, latents=kind), 0, "cpu"))
    measured.rates["encode"].append(frames / spent)
    stored = sum(p.stat().st_size for p in layout.latents(0).glob("z*/**/*") if p.is_file())
    measured.bytes_per_frame = stored / frames
    measured.rates["read"].append(frames / busy(lambda: read_all(layout, frames)))


def read_all(layout: Layout, frames: int) -> None:
    for start in range(0, frames, 64):
        read_latents(layout.latents(0), start, min(start + 64, frames))


def rendered(
    layout: Layout, chosen: Settings, variant: Variant, windows: list[Window]
) -> tuple[list[np.ndarray], float]:
    """Render windows; return their changes and the frames/s."""
    sink = Collected()
    flow = cache_flow(layout.flow, chosen, "cpu")
    latents, small = layout.latents(0), layout.small(0)
    spent = busy(lambda: render_windows(latents, small, 0, windows, [variant], flow, [sink], layout.root))
    return sink.changes, sum(len(w.frames) for w in windows) / spent


def first_windows(windows: list[Window], frames: int) -> list[Window]:
    """Return the first windows of each video that have `frames` frames together; a window that is longer is cut."""
    chosen = []
    for _, group in itertools.groupby(windows, key=lambda w: w.video):
        left = frames
        for window in group:
            if left > 0:
                chosen.append(replace(window, frames=window.frames[:left]))
                left -= len(window.frames)
    return chosen


def masks(layout: Layout, windows: list[Window], alpha: float) -> np.ndarray:
    """Return which latents each window keeps, computed from the latents as stored: (W, 12288) bool."""
    kept = []
    for window in windows:
        first, last = int(window.frames.min()), int(window.frames.max()) + 1
        z = read_latents(layout.latents(0), first, last)[window.frames - first]
        kept.append(standard_deviation(torch.from_numpy(z).float()) >= alpha)
    return torch.stack(kept).numpy()


def measure(clips: Sequence[Path], root: Path, options: argparse.Namespace) -> dict[str, Measured]:
    """Encode and read the clips with each kind in turn, `--repeats` times, then render in both scopes and compare."""
    found = {kind: Measured() for kind in KINDS}
    with ExitStack() as stack:
        layouts = {kind: Layout(stack.enter_context(scratch())) for kind in KINDS}
        made = [ingested(clips, root, layout) for layout in layouts.values()]
        chosen, receipt = made[0]
        frames = receipt.frames
        print(f"{root}: {len(clips)} clips, {frames} frames", flush=True)
        scopes = {s: Variant.parse(f"alpha{options.alpha:g}-zero-{s}") for s in SCOPES}
        for _, (kind, layout) in itertools.product(range(options.repeats), layouts.items()):
            encoded(layout, chosen, kind, found[kind], frames)
        rules = {s: shard_windows(receipt, v.rule) for s, v in scopes.items()}
        windows = {s: first_windows(all_of, options.frames) for s, all_of in rules.items()}
        for scope, variant in scopes.items():
            exact: list[np.ndarray] = []
            for kind, layout in layouts.items():
                changes, rate = rendered(layout, chosen, variant, windows[scope])
                exact = exact or changes
                found[kind].rates["render"].append(rate)
                compare(found[kind], scope, exact, changes)
        exact_masks = masks(layouts[FLOAT32], windows[CLIP], options.alpha)
        for kind, layout in layouts.items():
            flipped = masks(layout, windows[CLIP], options.alpha) != exact_masks
            found[kind].flips = flipped.mean(axis=1).tolist()
    return found


def compare(measured: Measured, scope: str, exact: list[np.ndarray], changes: list[np.ndarray]) -> None:
    """Add the errors of changes to what was measured."""
    for one, other in zip(exact, changes, strict=True):
        error = np.abs(one - other)
        measured.worst[scope] = max(measured.worst[scope], float(error.max()))
        measured.total[scope] += float(error.sum(dtype=np.float64))
        measured.values[scope] += error.size


def show(found: dict[str, Measured], alpha: float) -> None:
    """Print a Markdown table; errors are in grey levels of 255."""
    print(f"| latents as | bytes a frame | mean, largest error of a pixel (/255), video | … {CLIP} | ", end="")
    print(f"masks flipped at {alpha:g}, {CLIP} | encode | render | read, frames/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, m in found.items():
        errors = [f"{255 * m.total[s] / m.values[s]:.3f}, {255 * m.worst[s]:.1f}" for s in SCOPES]
        rates = [f"{statistics.median(r):.0f}" for r in m.rates.values()]
        cells = [kind, f"{m.bytes_per_frame:.0f}", *errors, f"{100 * statistics.mean(m.flips):.2f} %", *rates]
        print(f"| {' | '.join(cells)} |", flush=True)


def clips_of(folder: Path, count: int) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix in ENDINGS)
    return found[:: max(1, len(found) // count)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[SHARED / "interaction", SHARED / "street"])
    parser.add_argument("--clips", type=int, default=20, help="of each folder")
    parser.add_argument("--frames", type=int, default=128, help="rendered of each clip; all are encoded")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3, help="of encoding and reading")
    options = parser.parse_args()
    print_machine()
    one_thread()
    for folder in options.data:
        clips = clips_of(folder, options.clips)
        if not clips:
            parser.error(f"there are no clips in {folder}")
        show(measure(clips, folder, options), options.alpha)


if __name__ == "__main__":
    main()

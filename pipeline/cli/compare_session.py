"""Compare flows with progress, and print the comparison: the work of `s2vc-prep compare-flows`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from s2vc.manifests.errors import UserError
from s2vc.manifests.sample import SAMPLE_CLASSES
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console, print_json, print_paths
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.flow_fitting.compare import LENGTHS, POINTS, FlowReport, report
from s2vc.pipeline.flow_fitting.compare_clips import (
    CRFS,
    SAMPLE_VIDEOS,
    ComparisonClip,
    clips_of_cache,
    comparison_clips,
    even_size,
    sample_clips,
)
from s2vc.pipeline.flow_fitting.compare_sheet import comparison_strips
from s2vc.pipeline.preview.contact_sheet import write_png
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import EXAMPLE_ALPHAS


def compare_flows(
    flows: tuple[str, ...], cache: Path | CacheStorage, videos: int, out: Path, precision: str, device: str | None
) -> None:
    """Judge each flow on clips of the cache and of the sample; write and print one table, and write pictures."""
    console = make_console()
    on = choose_device(device)
    loaded = {name: load_flow(flow, on, precision) for name, flow in _names(flows).items()}
    opened = Cache(cache)
    chosen = clips_of_cache(opened, videos, LENGTHS[0])
    clips: list[ComparisonClip] = []
    drawn = SAMPLE_VIDEOS * len(SAMPLE_CLASSES)
    with progress("clips", len(chosen) + drawn, "clips", console) as advance:
        for source in (comparison_clips(opened, chosen), sample_clips(even_size(opened))):
            for clip in source:
                clips.append(clip)
                advance(1, len(clip.frames))
    reports = [_report(name, flow, clips, console) for name, flow in loaded.items()]
    with files.attempt(out / "flows.csv") as aside:
        table_of(reports).to_csv(aside, index=False, float_format="%.6g")
    write_png(out / "flows.png", comparison_strips(clips, loaded))
    print_reports(reports, console)
    print_paths(console, out / "flows.csv", out / "flows.png")
    print_json(json.loads(table_of(reports).to_json(orient="records")))


def _names(flows: Sequence[str]) -> dict[str, str]:
    """Return a name for each flow: its file's stem, or its path if two flows share the stem.

    Raises UserError for a flow that is given twice.
    """
    if len(set(flows)) < len(flows):
        raise UserError("a flow is named twice")
    stems = [Path(flow).stem for flow in flows]
    return {stem if stems.count(stem) == 1 else flow: flow for stem, flow in zip(stems, flows, strict=True)}


def _report(name: str, flow: Flow, clips: Sequence[ComparisonClip], console: Console) -> FlowReport:
    """Return the figures of a flow on the clips, with progress."""
    total = sum(len(c.small) * (1 + len(c.recompressed)) for c in clips)
    with progress(name, total, "frames", console) as advance:
        return report(name, flow, clips, lambda n: advance(n, n))


def table_of(reports: Sequence[FlowReport]) -> pd.DataFrame:
    """Return a table with a row for each flow.

    Its columns are flow, gflop, frames_per_second, kept_A_L for each alpha A and window length L, and mover_P,
    background_P, contrast_P and stable_P_crfC for each operating point P (alpha0.5, keep0.1). Shares are from 0 to 1.
    """
    rows = []
    for r in reports:
        row: dict[str, object] = {"flow": r.name, "gflop": r.gflop, "frames_per_second": r.frames_per_second}
        row |= {f"kept_{a}_{n}": r.kept[a, n] for n in LENGTHS for a in EXAMPLE_ALPHAS}
        for point, effect in r.effects.items():
            short = point.replace(" ", "")
            row |= {
                f"mover_{short}": effect.mover,
                f"background_{short}": effect.background,
                f"contrast_{short}": effect.contrast,
            }
            row |= {f"stable_{short}_crf{crf}": share for crf, share in effect.stable.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _shown(value: float, form: str) -> str:
    """Format a number; infinity and NaN, which arise where nothing was kept, become a dash."""
    return format(value, form) if math.isfinite(value) else "–"


def print_reports(reports: Sequence[FlowReport], console: Console) -> None:
    """Print the comparison as a table with a column for each flow."""
    table = Table("", *(r.name for r in reports))

    def line(what: str, *values: str, end: bool = False) -> None:
        table.add_row(what, *values, end_section=end)

    for n in LENGTHS:
        for a in EXAMPLE_ALPHAS:
            kept = [f"{r.kept[a, n]:.1%}" for r in reports]
            line(f"latents kept at {a}, windows of {n}", *kept, end=a == EXAMPLE_ALPHAS[-1])
    for point in POINTS:
        effects = [r.effects[point] for r in reports]
        line(f"{point}: energy left of movers", *(f"{e.mover:.1%}" for e in effects))
        line(f"{point}: … of backgrounds", *(f"{e.background:.1%}" for e in effects))
        line(f"{point}: … movers / backgrounds", *(_shown(e.contrast, ".0f") for e in effects))
        for crf in CRFS:
            stable = [_shown(e.stable[crf], ".2f") for e in effects]
            line(f"{point}: mask the same after CRF {crf}", *stable, end=crf == CRFS[-1])
    line("GFLOP a frame, each way", *(f"{r.gflop:.2f}" for r in reports))
    line("frames/s encoded here", *(f"{r.frames_per_second:.0f}" for r in reports))
    console.print(table)

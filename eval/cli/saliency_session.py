"""Compute saliency with progress, and print it: the work of `s2vc-eval saliency`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.eval.analyses.activation_classifier import classified_rows
from s2vc.eval.analyses.class_activation import ClassifiedRows
from s2vc.eval.analyses.mover_masks import MoverMasks
from s2vc.eval.analyses.saliency_figure import SaliencyFigure
from s2vc.eval.analyses.saliency_maps import (
    VideoSaliency,
    other_flow_correlation,
    other_mask_share,
    own_flow_correlation,
    own_mask_share,
    video_saliency,
)
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.defaults import CAM_LINEAR, TEST
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import part_entry, split_rows
from s2vc.eval.videos import stored_rows
from s2vc.eval.view import StoredWindows
from s2vc.pipeline.console.progress import count, progress
from s2vc.training.choices import ALL_ROWS
from s2vc.training.selection import split_column

Columns = dict[str, list[float]]
"""Numbers by name, of each video; NaN where one is not defined."""


HEADINGS = {
    "correlation": "energy",
    "correlation_other_flow": "other flows",
    "cam_correlation": "CAM",
    "cam_correlation_other_flow": "other flows",
    "area_on_mask": "area",
    "energy_on_mask": "energy",
    "energy_on_other_mask": "other masks",
    "cam_on_mask": "CAM",
    "cam_on_other_mask": "other masks",
}
"""The numbers' headings in the terminal; what says other is the control, with the flow or mask of other videos."""


def run_saliency(
    evaluation: Evaluation,
    videos: int,
    cam: str | None,
    epochs: int,
    train_views: int,
    masks: Path | None,
    gif: bool,
) -> None:
    """Compute the maps of some test videos, save their numbers and pictures, and print them."""
    console = evaluation.console
    split, part, rows = choose_rows(evaluation)
    rows = np.sort(np.random.default_rng(evaluation.seed).choice(rows, min(videos, len(rows)), replace=False))
    movers = MoverMasks(masks, evaluation.cache) if masks else None
    if movers:
        movers.check(rows)
    classified = classified_rows(evaluation, rows, cam, epochs, train_views) if cam else None
    saliencies = compute_saliency(evaluation, rows, classified, movers)
    columns = measure(saliencies)
    undefined = int(np.isnan(columns["correlation"]).sum())
    numbers = {"undefined": float(undefined)}
    numbers |= {name: float(np.nanmean(values)) for name, values in columns.items() if not np.isnan(values).all()}
    how: dict[str, Any] = {"cam": cam} if cam else {}
    how |= {"epochs_linear": epochs, "train_views": train_views} if cam == CAM_LINEAR else {}
    how |= {"masks": str(masks)} if masks else {}
    details = {"per_video": json_rows(saliencies, columns)}
    path = evaluation.save("saliency", split, numbers, details, videos=len(saliencies), **part_entry(part), **how)
    names = [f"{classified.targets[row][1]}: " if classified else "" for row in rows.tolist()]
    notes = [name + note(columns, number) for number, name in enumerate(names)]
    figure = SaliencyFigure(saliencies, notes, f"{evaluation.checkpoint} ({evaluation.evaluated.name})")
    pictures = [path.with_suffix(".png")] + [path.with_suffix(".gif")] * gif
    figure.write_png(pictures[0])
    if gif:
        figure.write_gif(pictures[1])
    print_columns(saliencies, columns, console)
    if undefined:
        console.print(f"no correlation for {count(undefined, 'video')}, where nothing moves")
    if flat := int(np.isnan(columns.get("cam_on_mask", np.zeros(1))).sum()):
        console.print(f"no share of the CAM for {count(flat, 'video')}, whose map is the same everywhere")
    print_saved(console, path, *pictures)


def choose_rows(evaluation: Evaluation) -> tuple[str, str, np.ndarray]:
    """Choose the split, the part that is tested, and its videos; all videos, where there is no split column or all are
    asked for."""
    column = split_column(evaluation.cache, evaluation.split)
    if column == ALL_ROWS:
        return column, TEST, stored_rows(evaluation.cache)
    part = evaluation.find_test_part()
    rows = split_rows(evaluation.cache, evaluation.split, part)[1]
    evaluation.warn_of_trained(column, part, rows)
    return column, part, rows


def compute_saliency(
    evaluation: Evaluation, rows: np.ndarray, classified: ClassifiedRows | None, movers: MoverMasks | None
) -> list[VideoSaliency]:
    """Compute the maps of each video, with progress."""
    view, backbone, device = evaluation.view(), evaluation.backbone, evaluation.device
    windows = StoredWindows(evaluation.cache, rows, view)
    compute = partial(video_saliency, evaluation.cache, windows, classified=classified, masks=movers)
    saliencies = []
    with progress("saliency", len(rows), "videos", evaluation.console) as advance:
        for row in rows:
            saliencies.append(compute(row=int(row), backbone=backbone, view=view, device=device))
            advance(1, len(saliencies[-1].energy) * view.frames)
    return saliencies


def measure(saliencies: list[VideoSaliency]) -> Columns:
    """Compute what there is of each video: correlations of its maps with flow, and shares of them on masks."""
    columns: Columns = {}
    first = saliencies[0]
    for maps, prefix in [("energy", "")] + [("cam", "cam_")] * (first.cam is not None):
        columns[f"{prefix}correlation"] = [own_flow_correlation(one, maps) for one in saliencies]
        columns[f"{prefix}correlation_other_flow"] = [
            other_flow_correlation(one, saliencies, maps) for one in saliencies
        ]
    if first.cover is not None:
        columns["area_on_mask"] = [own_mask_share(one, "area") for one in saliencies]
        for maps in ["energy"] + ["cam"] * (first.cam is not None):
            columns[f"{maps}_on_mask"] = [own_mask_share(one, maps) for one in saliencies]
            columns[f"{maps}_on_other_mask"] = [other_mask_share(one, saliencies, maps) for one in saliencies]
    return columns


def json_rows(saliencies: list[VideoSaliency], columns: Columns) -> list[dict[str, str | float | None]]:
    """Write the numbers of each video for JSON, which has null for what is not defined."""
    return [
        {"video_id": one.video_id, **{k: None if np.isnan(v[number]) else v[number] for k, v in columns.items()}}
        for number, one in enumerate(saliencies)
    ]


def note(columns: Columns, number: int) -> str:
    """Write the numbers of a video for below its pictures."""
    energy, other = (as_text(columns[name][number]) for name in ("correlation", "correlation_other_flow"))
    lines = [f"r = {energy} (other flow {other})"]
    if "cam_correlation" in columns:
        energy, other = (as_text(columns[f"cam_{name}"][number]) for name in ("correlation", "correlation_other_flow"))
        lines.append(f"CAM: r = {energy} (other flow {other})")
    if "area_on_mask" in columns:
        on_mask = [f"{name} {columns[f'{name}_on_mask'][number]:.0%}" for name in ("energy", "cam", "area")
                  if f"{name}_on_mask" in columns]  # fmt: skip
        lines += ["on the mask:", ", ".join(on_mask)]
    return "\n".join(lines)


def print_columns(saliencies: list[VideoSaliency], columns: Columns, console: Console) -> None:
    """Print the numbers of each video, and their means: correlations, and shares on masks where there are masks."""
    shares = {name: values for name, values in columns.items() if "mask" in name}
    correlations = {name: values for name, values in columns.items() if name not in shares}
    for title, part in (
        ("Pearson's r of a map with the speed by optical flow", correlations),
        ("share of a map that lies on the mover's mask", shares),
    ):
        if part:
            table = Table("video", *(HEADINGS[name] for name in part), title=title, title_justify="left")
            for number, one in enumerate(saliencies):
                table.add_row(one.video_id, *(as_text(values[number]) for values in part.values()))
            table.add_section()
            means = [np.nanmean(values) if not np.isnan(values).all() else np.nan for values in part.values()]
            table.add_row("mean", *(as_text(float(m)) for m in means), style="bold")
            console.print(table)


def as_text(value: float) -> str:
    """Write a number for people, with a dash where it is not defined."""
    return "–" if np.isnan(value) else f"{value:.2f}"

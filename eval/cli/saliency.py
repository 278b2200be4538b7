"""`s2vc-eval saliency`."""

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.eval.analyses.saliency_figure import SaliencyFigure
from s2vc.eval.analyses.saliency_maps import VideoSaliency, other_flow_correlation, own_flow_correlation, video_saliency
from s2vc.eval.cli.checkpoint_options import checkpoint_command
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import TEST, part_entry, split_rows
from s2vc.eval.results import TABLE
from s2vc.eval.videos import stored_rows
from s2vc.eval.view import StoredWindows
from s2vc.pipeline.console.progress import progress
from s2vc.training.selection import ALL_ROWS, split_column


@click.command("saliency")
@checkpoint_command
@click.option("--videos", type=click.IntRange(1), default=6, help="Drawn at random; all, where there are fewer.")
@click.option("--gif", is_flag=True, help="An animation as well.")
def saliency_command(evaluation: Evaluation, videos: int, gif: bool) -> None:
    """Where CHECKPOINT looks: energy of its last convolution on test videos of CACHE, beside optical flow (Fig. 7).

    With numbers: Pearson's correlation of energy and speed over the map, beside that with the flow of other videos.
    Without a split column, or with --split all, of any videos.
    """
    console = evaluation.console
    split, part, rows = choose_rows(evaluation)
    rows = np.sort(np.random.default_rng(evaluation.seed).choice(rows, min(videos, len(rows)), replace=False))
    saliencies = compute_saliency(evaluation, rows)
    own = [own_flow_correlation(saliency) for saliency in saliencies]
    control = [other_flow_correlation(saliency, saliencies) for saliency in saliencies]
    numbers = {"undefined": float(np.isnan(own).sum())}
    for name, values in (("correlation", own), ("correlation_other_flow", control)):
        if not np.isnan(values).all():
            numbers[name] = float(np.nanmean(values))
    details = {
        "per_video": [
            {"video_id": saliency.video_id, "correlation": json_number(a), "correlation_other_flow": json_number(b)}
            for saliency, a, b in zip(saliencies, own, control, strict=True)
        ]
    }
    path = evaluation.save("saliency", split, numbers, details, videos=len(saliencies), **part_entry(part))
    notes = [f"r = {as_text(a)} (other flow {as_text(b)})" for a, b in zip(own, control, strict=True)]
    figure = SaliencyFigure(saliencies, notes, f"{evaluation.checkpoint} ({evaluation.evaluated.name})")
    pictures = [path.with_suffix(".png")] + [path.with_suffix(".gif")] * gif
    figure.write_png(pictures[0])
    if gif:
        figure.write_gif(pictures[1])
    print_correlations(saliencies, own, control, console)
    if np.isnan(own).any():
        console.print(f"{int(np.isnan(own).sum())} videos have no correlation: nothing moves in them")
    console.print(f"{path}, {', '.join(p.name for p in pictures)}, {evaluation.out / TABLE}")


def choose_rows(evaluation: Evaluation) -> tuple[str, str, np.ndarray]:
    """Choose the split, the part that is tested, and its videos; all videos, where there is no split column or all are
    asked for."""
    column = split_column(evaluation.cache, evaluation.split)
    if column == ALL_ROWS:
        return column, TEST, stored_rows(evaluation.cache)
    part = evaluation.find_test_part()
    return column, part, split_rows(evaluation.cache, evaluation.split, part)[1]


def compute_saliency(evaluation: Evaluation, rows: np.ndarray) -> list[VideoSaliency]:
    """Compute energy and speed of each video, with progress."""
    view, backbone = evaluation.view(), evaluation.backbone
    windows = StoredWindows(evaluation.cache, rows, view)
    saliencies = []
    with progress("saliency", len(rows), "videos", evaluation.console) as advance:
        for row in rows:
            saliencies.append(video_saliency(evaluation.cache, windows, int(row), backbone, view, evaluation.device))
            advance(1, len(saliencies[-1].energy) * view.frames)
    return saliencies


def json_number(value: float) -> float | None:
    """Write a number for JSON, which has null for what is not defined."""
    return None if np.isnan(value) else value


def print_correlations(
    saliencies: list[VideoSaliency], own: list[float], control: list[float], console: Console
) -> None:
    """Print both correlations of each video, and their means."""
    table = Table("video", "windows", "with its flow", "with other flows", title="Energy and speed, Pearson's r")
    table.title_justify = "left"
    for saliency, a, b in zip(saliencies, own, control, strict=True):
        table.add_row(saliency.video_id, str(len(saliency.energy)), as_text(a), as_text(b))
    table.add_section()
    means = [np.nanmean(values) if not np.isnan(values).all() else np.nan for values in (own, control)]
    table.add_row("mean", "", *(as_text(float(m)) for m in means), style="bold")
    console.print(table)


def as_text(value: float) -> str:
    """Write a number for people, with a dash where it is not defined."""
    return "–" if np.isnan(value) else f"{value:.2f}"

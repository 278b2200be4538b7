"""`s2vc-eval saliency`."""

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from s2vc.eval.analyses.saliency_figure import Sheet
from s2vc.eval.analyses.saliency_maps import Saliency, look, with_other_flows, with_own_flow
from s2vc.eval.cli.checkpoint_options import takes_checkpoint
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import split_rows
from s2vc.eval.results import TABLE
from s2vc.eval.videos import stored_rows
from s2vc.eval.view import StoredWindows
from s2vc.pipeline.console.progress import progress
from s2vc.training.selection import ALL_ROWS, split_column


@click.command("saliency")
@takes_checkpoint
@click.option("--videos", type=click.IntRange(1), default=6, help="Drawn at random; all, where there are fewer.")
@click.option("--gif", is_flag=True, help="An animation as well.")
def saliency_command(evaluation: Evaluation, videos: int, gif: bool) -> None:
    """Where CHECKPOINT looks: energy of its last convolution on test videos of CACHE, beside optical flow (Fig. 7).

    With numbers: Pearson's correlation of energy and speed over the map, beside that with the flow of other videos.
    Without a split column, or with --split all, of any videos.
    """
    console = evaluation.console
    split, rows = shown_rows(evaluation)
    rows = np.sort(np.random.default_rng(evaluation.seed).choice(rows, min(videos, len(rows)), replace=False))
    seen = look_at(evaluation, rows)
    own = [with_own_flow(one) for one in seen]
    control = [with_other_flows(one, seen) for one in seen]
    numbers = {"undefined": float(np.isnan(own).sum())}
    for name, values in (("correlation", own), ("correlation_other_flow", control)):
        if not np.isnan(values).all():
            numbers[name] = float(np.nanmean(values))
    details = {
        "per_video": [
            {"video_id": one.video_id, "correlation": known(a), "correlation_other_flow": known(b)}
            for one, a, b in zip(seen, own, control, strict=True)
        ]
    }
    path = evaluation.save("saliency", split, numbers, details, videos=len(seen))
    notes = [f"r = {shown(a)} (other flow {shown(b)})" for a, b in zip(own, control, strict=True)]
    sheet = Sheet(seen, notes, f"{evaluation.checkpoint} ({evaluation.subject.name})")
    pictures = [path.with_suffix(".png")] + [path.with_suffix(".gif")] * gif
    sheet.write_png(pictures[0])
    if gif:
        sheet.write_gif(pictures[1])
    tell(seen, own, control, console)
    if np.isnan(own).any():
        console.print(f"{int(np.isnan(own).sum())} videos have no correlation: nothing moves in them")
    console.print(f"{path}, {', '.join(p.name for p in pictures)}, {evaluation.out / TABLE}", highlight=False)


def shown_rows(evaluation: Evaluation) -> tuple[str, np.ndarray]:
    """The split, and its test videos; all, where there is no split column or all are asked for."""
    column = split_column(evaluation.cache, evaluation.split)
    if column == ALL_ROWS:
        return column, stored_rows(evaluation.cache)
    return split_rows(evaluation.cache, evaluation.split, "test")


def look_at(evaluation: Evaluation, rows: np.ndarray) -> list[Saliency]:
    """Energy and speed of each video, with progress."""
    view, backbone = evaluation.view(), evaluation.backbone
    windows = StoredWindows(evaluation.cache, rows, view)
    seen = []
    with progress("saliency", len(rows), "videos", evaluation.console) as advance:
        for row in rows:
            seen.append(look(evaluation.cache, windows, int(row), backbone, view, evaluation.device))
            advance(1, len(seen[-1].energy) * view.frames)
    return seen


def known(value: float) -> float | None:
    """As JSON has it: null for what is not defined."""
    return None if np.isnan(value) else value


def tell(seen: list[Saliency], own: list[float], control: list[float], console: Console) -> None:
    """Both correlations of each video, and their means."""
    table = Table("video", "windows", "with its flow", "with other flows", title="Energy and speed, Pearson's r")
    table.title_justify = "left"
    for one, a, b in zip(seen, own, control, strict=True):
        table.add_row(escape(one.video_id), str(len(one.energy)), shown(a), shown(b))
    table.add_section()
    means = [np.nanmean(values) if not np.isnan(values).all() else np.nan for values in (own, control)]
    table.add_row("mean", "", *(shown(float(m)) for m in means), style="bold")
    console.print(table)


def shown(value: float) -> str:
    """For people, with a dash where it is not defined."""
    return "–" if np.isnan(value) else f"{value:.2f}"

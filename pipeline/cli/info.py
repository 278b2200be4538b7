"""Define the command `s2vc-prep info`."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from s2vc.manifests.errors import printable
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.settings import CROP, SHORT_SIDE, SQUEEZE
from s2vc.pipeline.console.options import OUTPUT, cache_argument
from s2vc.pipeline.console.progress import count, progress, size
from s2vc.pipeline.console.terminal import make_console, print_json, print_paths, print_result
from s2vc.pipeline.console.verbosity import json_option, wants_json
from s2vc.pipeline.reporting import Advance

FIT_WORDS = {SQUEEZE: "stretched to it", CROP: "cut to its shape", SHORT_SIDE: "shorter side scaled to it"}

REASONS = 10
"""At most this many reasons of failures are shown, the most frequent first."""


@click.command("info")
@cache_argument
@click.option("--plot", type=OUTPUT, help="Figure of the share kept against alpha: .png, .pdf or .svg.")
@json_option
def info_command(cache: Path | CacheStorage, plot: Path | None) -> None:
    """Print what is inside CACHE, finished or not, and which share of the latents each alpha keeps.

    The shares are computed from the cached STDs, so that an alpha can be chosen before anything is rendered.
    """
    from s2vc.pipeline.cache import Cache
    from s2vc.pipeline.cache.damage import damage_as_user_error
    from s2vc.pipeline.info.cache_facts import facts, survey
    from s2vc.pipeline.info.kept_share_figure import check_plot, plot_shares

    console, aside = make_console(), make_console(stderr=True)
    if plot is not None:
        check_plot(plot)

    def show(shards: int) -> AbstractContextManager[Advance]:
        return progress("info", shards, "shards", aside)

    opened = Cache(cache)
    with damage_as_user_error(str(cache), opened.storage):
        found = survey(opened, show)
        known = facts(found)
    if wants_json():
        print_json(known)
    else:
        print_facts(known, console)
    if plot is not None:
        plot_shares(found.kept_shares.curves(), found.kept_shares.videos, plot)
        print_paths(console, plot)


def print_facts(known: dict[str, Any], console: Console) -> None:
    """Print the facts in lines and tables."""

    def line(text: str) -> None:
        print_result(console, shown(text))

    height, width = known["frame_size"]
    step = known["frame_step"]
    line(known["cache"])
    for left in known["unfinished"]:
        line(f"Not finished: {left}.")
    counts = ", ".join(f"{n} {status}" for status, n in known["videos"].items() if n or status == "ok")
    line(
        f"{count(sum(known['videos'].values()), 'video')}: {counts}; {count(known['class_count'], 'class', 'classes')}"
    )
    for column, values in known["splits"].items():
        line(f"{column}: {', '.join(f'{n} {value}' for value, n in values.items())}")
    line(
        f"{count(known['frames'], 'frame')} of {height}x{width}, {f'one in {step} of the source, ' if step > 1 else ''}"
        f"{FIT_WORDS[known['fit']]}, "
        f"JPEG quality {known['jpeg_quality']}"
    )
    flow = known["flow"]
    line(f"flow {flow['name']}, {flow['precision']}, fingerprint {flow['fingerprint'][:12]}")
    line(f"latents as {known['latents']}")
    versions = (f"{name} {version.removeprefix('ffmpeg version ')}" for name, version in known["software"].items())
    line(f"made with {', '.join(versions)}")
    for table in (class_table(known), part_table(known), failure_table(known), share_table(known)):
        if table.rows:
            console.print()
            console.print(table)


def plain_table(title: str, *columns: str, text: int = 1) -> Table:
    """Return an empty table whose first `text` columns are for text and the others for numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left", box=box.SIMPLE_HEAD)
    table.show_edge = False
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < text else "right", overflow="fold")
    return table


def class_table(known: dict[str, Any]) -> Table:
    """Return a table of videos and frames of each class, which is empty if there is only one."""
    table = plain_table("Classes", "class", "videos", "frames")
    if len(known["classes"]) > 1:
        for entry in known["classes"]:
            table.add_row(shown(entry["class_name"] or "none"), str(entry["videos"]), str(entry["frames"]))
    return table


def part_table(known: dict[str, Any]) -> Table:
    """Return a table of the parts of a cache: sizes, how many shards are done, and what rendered variants keep."""
    kept = {entry["name"]: entry["kept"] for entry in known["variants"]}
    table = plain_table("On disk", "part", "size", "a frame", "shards", "kept")
    for part in known["parts"]:
        name, per_frame = part["part"], part["bytes_per_frame"]
        table.add_row(
            name,
            size(part["bytes"]),
            size(per_frame) if per_frame is not None else "",
            f"{part['shards_done']} of {known['shards']}",
            percent(kept[name]) if kept.get(name) is not None else "",
        )
    return table


def failure_table(known: dict[str, Any]) -> Table:
    """Return a table of the reasons of failures, with the first videos of each."""
    failures = known["failures"]
    table = plain_table("Videos with trouble", "status", "reason", "first", "videos", text=3)
    for entry in failures[:REASONS]:
        ids = ", ".join(entry["first"]) + (", …" if entry["videos"] > len(entry["first"]) else "")
        table.add_row(entry["status"], shown(entry["reason"]), shown(ids), str(entry["videos"]))
    if rest := failures[REASONS:]:
        table.add_row("", f"… and {len(rest)} more reasons", "", str(sum(entry["videos"] for entry in rest)))
    return table


def share_table(known: dict[str, Any]) -> Table:
    """Return a table of the share kept at alphas 0.1, 0.2, … 1, and of the paper's figures."""
    from s2vc.pipeline.info.kept_share import PAPER_SHARES, SCOPES

    kept = known["share_kept"]
    paper_names = ", ".join(next(iter(PAPER_SHARES.values())))
    table = plain_table("Latents kept", "alpha", "STD over the video", "over windows of 16", f"paper: {paper_names}")
    videos = "1 video" if kept["videos"] == 1 else f"{kept['videos']} videos, each of the same weight"
    table.caption = f"Mean over {videos}; in brackets, 10th to 90th percentile."
    if not kept["videos"]:
        return table
    for k, alpha in enumerate(kept["alphas"]):
        if k and k % 5 == 0:
            cells = [
                f"{percent(column['mean'][k])} ({100 * column['p10'][k]:.1f} to {100 * column['p90'][k]:.1f})"
                for column in (kept[scope] for scope in SCOPES)
            ]
            paper = ", ".join(percent(share) for share in PAPER_SHARES.get(alpha, {}).values())
            table.add_row(f"{alpha:g}", *cells, paper)
    return table


def shown(text: str) -> str:
    """Return a text of a cache, which may be a foreign file, without control characters."""
    return printable(text)


def percent(share: float) -> str:
    return f"{share:.1%}"

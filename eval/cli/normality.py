"""`s2vc-eval normality`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.eval.cli.checkpoint_options import alpha_option, out_option, seed_option
from s2vc.eval.cli.print_saved import print_saved
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.quantise import Q8
from s2vc.pipeline.console.options import cache_argument, threads_option
from s2vc.pipeline.console.progress import count, progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.verbosity import json_option
from s2vc.training.choices import ALL_ROWS

if TYPE_CHECKING:
    from s2vc.eval.analyses.latent_normality import NormalFit, NormalityResult, Series


TITLES = ("pixels", "  control", "static latents", "  control")
"""The kinds have these titles, in their order."""


@click.command("normality")
@cache_argument
@alpha_option
@click.option("--videos", type=click.IntRange(1), default=20, help="Drawn at random; all, where there are fewer.")
@click.option("--dims", type=click.IntRange(1, 1024), default=8, help="Pixels and latents drawn of each video.")
@seed_option
@out_option
@json_option
@threads_option
def normality_command(cache: Path | CacheStorage, alpha: float, videos: int, dims: int, seed: int, out: Path) -> None:
    """Whether pixels and latents of CACHE are normal over the frames of a video (supplement, Fig. 5).

    A normal is fitted to each of some pixels and static latents of some videos. MSE: between the histogram of the
    standardised values and the normal density. Tests: Kolmogorov-Smirnov as published, and Lilliefors', which allows
    for mean and STD being fitted. Pixels have 8 bits and latents are rounded where they are stored, so that the control
    of each is independent normal numbers of its mean, STD and length, rounded alike; and all are tested dithered, too.
    """
    from s2vc.eval.analyses.latent_normality import (
        KINDS,
        MIN_FRAMES,
        SIGNIFICANCE,
        STATIC_LATENTS,
        NormalityResult,
        draw_series,
    )
    from s2vc.eval.analyses.normality_figure import plot_normality
    from s2vc.eval.results import describe_result, save_result
    from s2vc.eval.videos import encoded_rows
    from s2vc.pipeline.cache import Cache

    console, opened = make_console(), Cache(cache)
    rows = encoded_rows(opened, MIN_FRAMES)
    rows = np.sort(np.random.default_rng(seed).choice(rows, min(videos, len(rows)), replace=False))
    tested = {kind: NormalityResult() for kind in KINDS}
    shown: list[tuple[Series, NormalFit | None]] = []
    with progress("normality", len(rows), "videos", console) as advance:
        for row in rows:
            series = draw_series(opened, int(row), dims, alpha, seed)
            fits = [(one, tested[one.kind].add(one, seed)) for one in series]
            if not shown and any(one.kind == STATIC_LATENTS for one in series):
                shown = fits
            advance(1, len(series[0].values))
    if not shown:
        raise UserError(f"no latent of {count(len(rows), 'video')} has an STD below alpha {alpha:g}: take a larger one")
    stored = opened.settings.latents
    how = {"alpha": alpha, "videos": len(rows), "dims": dims, "level": SIGNIFICANCE, "latents_stored": stored}
    description = describe_result("normality", opened, ALL_ROWS, **how, eval_seed=seed)
    numbers = {f"{kind}_{name}": value for kind in KINDS for name, value in tested[kind].numbers.items()}
    path = save_result(out, description, numbers, {kind: tested[kind].records for kind in KINDS})
    plot_normality(shown, tested, path.with_suffix(".png"))
    title = f"{count(len(rows), 'video')}, alpha {alpha:g}, latents stored as {stored}; tests at {SIGNIFICANCE}"
    print_tests(tested, title, console)
    if stored == Q8:
        console.print("q8 rounds latents to steps of 1/8: compare what is dithered, and each with its control")
    print_saved(console, path, path.with_suffix(".png"))


def print_tests(tested: "dict[str, NormalityResult]", title: str, console: Console) -> None:
    """Print a row for each kind: how well the normal fits, and how often each test accepts it."""
    columns = ("series", "constant", "MSE", "KS", "Lilliefors", "dithered MSE", "Lilliefors")
    shown = ("mse", "published_h0", "lilliefors_h0", "dithered_mse", "dithered_lilliefors_h0")
    table = Table("", *columns, title=title, title_justify="left")
    table.caption, table.caption_justify = (
        "Tests: share accepted as normal. Control: normal numbers, rounded alike.",
        "left",
    )
    for name, kind in zip(TITLES, tested.values(), strict=True):
        numbers = kind.numbers
        found = [f"{numbers[n]:.4f}" if "mse" in n else f"{numbers[n]:.1%}" for n in shown if n in numbers]
        table.add_row(name, str(numbers["series"]), str(numbers["constant"]), *found)
    console.print(table)

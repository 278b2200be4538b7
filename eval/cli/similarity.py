"""`s2vc-eval similarity`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.eval.cli.checkpoint_options import alpha_option, label_option, out_option, seed_option
from s2vc.eval.cli.print_saved import print_saved
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import cache_argument, threads_option
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.verbosity import json_option
from s2vc.training.choices import ALL_ROWS

if TYPE_CHECKING:
    from s2vc.eval.analyses.frame_similarity import VideoGroups


@click.command("similarity")
@cache_argument
@alpha_option
@click.option("--classes", type=click.IntRange(1), default=10, help="Drawn at random; all, where there are fewer.")
@click.option("--pairs", type=click.IntRange(1), default=100, help="Of frames, a comparison and class.")
@seed_option
@label_option
@out_option
@json_option
@threads_option
def similarity_command(
    cache: Path | CacheStorage, alpha: float, classes: int, pairs: int, seed: int, label: str, out: Path
) -> None:
    """Cosine similarity of frames of CACHE in the latent space, before and after static cues are suppressed.

    Of two videos of a class, of adjacent frames of a video, and of videos of two classes (paper, Fig. 4; supplement,
    Figs. 2 and 3), beside a control in which as many latents are zeroed at random. Without labels, adjacent frames
    alone. All videos are looked at, whatever their split.
    """
    from s2vc.eval.analyses.frame_similarity import (
        COMPARISONS,
        FrameVectors,
        choose_groups,
        draw_pairs,
        group_means,
        mean_over_groups,
        pair_cosines,
        plot_similarity,
        undefined_comparisons,
    )
    from s2vc.eval.labelled import label_entry
    from s2vc.eval.paper import kept_share_note
    from s2vc.eval.results import describe_result, save_result
    from s2vc.eval.videos import encoded_rows
    from s2vc.pipeline.cache import Cache

    console, opened = make_console(), Cache(cache)
    groups = choose_groups(opened, encoded_rows(opened), classes, seed, label)
    missing = undefined_comparisons(groups)
    for comparison, reason in missing.items():
        console.print(f"{comparison} is left out: {reason}")
    drawn = [p for c in COMPARISONS if c not in missing for p in draw_pairs(groups, c, pairs, seed)]
    if not drawn:
        raise UserError(f"no video of {cache} has two frames, and there is no other pair of frames to compare")
    vectors = FrameVectors(opened, alpha, seed)
    with progress("similarity", len(drawn), "pairs", console) as advance:
        found = pair_cosines(vectors, drawn, advance)
    undefined, kept = int(np.isnan(found[:, 0]).sum()), vectors.mean_kept(drawn)
    if undefined == len(drawn):
        raise UserError(f"alpha {alpha:g} keeps no latent of any video that was drawn: take a smaller one")
    means = group_means(drawn, found)
    how = {"alpha": alpha, "classes": len(groups.rows), "pairs": pairs, "eval_seed": seed, **label_entry(label)}
    description = describe_result("similarity", opened, ALL_ROWS, **how)
    numbers = {**mean_over_groups(means), "kept": kept, "undefined_pairs": undefined}
    path = save_result(out, description, numbers, {"per_class": means, "left_out": missing})
    title = f"alpha {alpha:g}, which keeps {kept:.1%} of the latents"
    plot_similarity(means, title, path.with_suffix(".png"))
    if note := kept_share_note(alpha):
        console.print(note)
    if undefined:
        console.print(f"{undefined} of {len(drawn)} pairs are left out: nothing is kept of one of their videos")
    print_means(means, numbers, groups, title, console)
    print_saved(console, path, path.with_suffix(".png"))


def print_means(
    means: dict[str, dict[str, list[float]]],
    numbers: dict[str, float],
    groups: "VideoGroups",
    title: str,
    console: Console,
) -> None:
    """Print the means of each comparison, and of each class within it where there are several."""
    table = Table("comparison", "class", "Z", "Z_p", "control", title=title, title_justify="left")
    for comparison, of in means.items():
        name = comparison.replace("-", "_")
        if len(groups.rows) > 1:
            for group, values in of.items():
                table.add_row(comparison, group, *(f"{v:.3f}" for v in values))
        mean = [numbers[f"{name}_{vector}"] for vector in ("z", "z_p", "control")]
        table.add_row(comparison, "mean", *(f"{v:.3f}" for v in mean), style="bold", end_section=True)
    console.print(table)

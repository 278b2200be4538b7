"""Compare pairs of frames with progress, and print their cosines: the work of `s2vc-eval similarity`."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.eval.analyses.frame_similarity import (
    COMPARISONS,
    FrameVectors,
    VideoGroups,
    choose_groups,
    draw_pairs,
    group_means,
    mean_over_groups,
    pair_cosines,
    plot_similarity,
    undefined_comparisons,
)
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.labelled import label_entry
from s2vc.eval.paper import kept_share_note
from s2vc.eval.results import describe_result, save_result
from s2vc.eval.videos import encoded_rows
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.training.choices import ALL_ROWS


def compare_similarity(
    cache: Path | CacheStorage, alpha: float, classes: int, pairs: int, seed: int, label: str, out: Path
) -> None:
    """Compute the cosines of pairs of frames, save them with their figure, and print their means."""
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

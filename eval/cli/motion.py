"""`s2vc-eval motion`."""

from pathlib import Path

import click
import numpy as np

from s2vc.eval.cli.checkpoint_options import label_option, out_option
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.cli.print_shares import print_shares
from s2vc.eval.defaults import MOVING_SPEED
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import cache_argument, threads_option
from s2vc.pipeline.console.progress import count, progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.verbosity import json_option
from s2vc.training.choices import ALL_ROWS


@click.command("motion")
@cache_argument
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=MOVING_SPEED,
    help="Pixels of the stored frame: what goes further from one frame to the next moves.",
)
@click.option("--every", type=click.IntRange(1), default=1, help="Look at one pair of frames of so many.")
@label_option
@out_option
@threads_option
@json_option
def motion_command(cache: Path | CacheStorage, threshold: float, every: int, label: str, out: Path) -> None:
    """Share of pixels that move in the videos of CACHE, by Farneback's optical flow (supplement, Fig. 1).

    The mean over pairs of adjacent frames, then over videos, and over the videos of each class. All videos are looked
    at, whatever their split.
    """
    import torch

    from s2vc.eval.analyses.moving_pixels import motion_examples, moving_shares
    from s2vc.eval.analyses.share_figure import class_means, plot_class_shares
    from s2vc.eval.labelled import label_entry
    from s2vc.eval.paper import MOVING_SHARE_ABOUT
    from s2vc.eval.results import describe_result, save_result
    from s2vc.eval.videos import stored_rows
    from s2vc.pipeline.cache import Cache
    from s2vc.training.labels import read_labels

    console, opened = make_console(), Cache(cache)
    names = read_labels(opened, label).names
    rows = stored_rows(opened, 2)
    with progress("motion", len(rows), "videos", console) as advance:
        shares = moving_shares(opened, rows, threshold, every, torch.get_num_threads(), advance)
    ids = opened.index["video_id"].to_numpy()[rows]
    per_class = class_means(shares, names[rows].tolist())
    how = {"threshold": threshold, "every": every, "videos": len(rows), **label_entry(label)}
    description = describe_result("motion", opened, ALL_ROWS, **how)
    numbers = {"moving": float(shares.mean()), "moving_median": float(np.median(shares))}
    details = {"per_class": per_class, "per_video": dict(zip(ids.tolist(), shares.tolist(), strict=True))}
    path = save_result(out, description, numbers, details)
    height, width = opened.settings.frame_size
    title = f"{shares.mean():.1%} of pixels move by more than {threshold:g} a frame, of {height}x{width}"
    shown = motion_examples(opened, rows, shares, threshold)
    plot_class_shares("moving pixels", shares, per_class, shown, title, path.with_suffix(".png"))
    print_shares("moving pixels", shares, per_class, title, console)
    console.print(f"The paper: about {MOVING_SHARE_ABOUT:g}% of three public datasets (supplement, Fig. 1)")
    short = int((opened.index["frames"] == 1).sum())
    if short:
        console.print(f"left out: {count(short, 'video')} of a single frame")
    print_saved(console, path, path.with_suffix(".png"))

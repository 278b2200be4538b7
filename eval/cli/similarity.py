"""`s2vc-eval similarity`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from s2vc.eval.cli.checkpoint_options import alpha_option, label_option, out_option, seed_option
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import cache_argument, threads_option
from s2vc.pipeline.console.verbosity import json_option

if TYPE_CHECKING:
    pass


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
    from s2vc.eval.cli.similarity_session import compare_similarity

    compare_similarity(cache, alpha, classes, pairs, seed, label, out)

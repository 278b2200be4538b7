"""`s2vc-eval retrieval`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.defaults import KS, NATURAL, ORDERS
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import CACHE
from s2vc.pipeline.console.progress import count
from s2vc.pipeline.console.terminal import print_result

if TYPE_CHECKING:
    from s2vc.eval.evaluation import Evaluation


@click.command("retrieval")
@checkpoint_command
@label_option
@click.option(
    "--gallery",
    type=CACHE,
    help="Cache whose training rows, by the same split column, are the gallery, classes matched by name.  "
    "[default: CACHE]",
)
@click.option(
    "--per", type=click.Choice(["video", "clip"]), default="video", help="What a query is: a video, or a clip."
)
@click.option(
    "--clips",
    type=click.IntRange(2),
    help="So many clips spread evenly over a video, such as 10, as Xu et al. (2019) take them.  [default: windows by "
    "half their length]",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default=NATURAL,
    show_default=True,
    help="Of the frames of a clip, for queries and gallery: shuffled, or still, the middle one throughout. What is "
    "still found is told by frames, and not by motion.",
)
def retrieval_command(
    evaluation: "Evaluation", gallery: Path | CacheStorage | None, per: str, clips: int | None, order: str
) -> None:
    """Recall@1, 5, 10, 20 and 50 of CACHE's test videos among its training videos, by the features of CHECKPOINT.

    Features of windows by half their length are averaged per video, centred on each set's mean and compared by cosine.
    """
    from s2vc.eval.tasks import retrieval
    from s2vc.pipeline.cache import Cache

    console = evaluation.console
    if per == "video":
        console.print("a query is a video, as in the published code; in the paper's text it is a clip: --per clip")
    path, recall, compared = retrieval(evaluation, Cache(gallery) if gallery else None, per, clips, order)
    if len(recall) < len(KS):
        console.print(f"k of {max(recall)} at most: the gallery has too few videos for more")
    table = Table(*(f"R@{k}" for k in recall))
    table.add_row(*(f"{value:.1%}" for value in recall.values()))
    console.print(table)
    print_result(
        console,
        f"{count(compared.queries, 'query', 'queries')} among {count(compared.gallery_videos, 'gallery video')}; "
        f"chance for R@1 {compared.chance:.1%}",
    )
    print_saved(console, path)

"""`s2vc-eval retrieval`."""

from pathlib import Path

import click
import numpy as np
from rich.table import Table

from eval.cli.evaluation import Evaluation, takes_checkpoint
from eval.labelled import Labelled, labelled_rows
from eval.retrieval import recall_at_k
from pipeline.cache import Cache
from pipeline.cli.options import FOLDER

KS = (1, 5, 10, 20, 50)


@click.command("retrieval")
@takes_checkpoint
@click.option("--gallery", type=FOLDER, help="Cache whose training rows are the gallery.  [default: CACHE]")
@click.option(
    "--per", type=click.Choice(["video", "clip"]), default="video", help="What a query is: a video, or a clip."
)
def retrieval_command(evaluation: Evaluation, gallery: Path | None, per: str) -> None:
    """Recall@1, 5, 10, 20 and 50 of CACHE's test videos among its training videos, by the features of CHECKPOINT.

    Features of windows by half their length are averaged per video, centred on each set's mean and compared by cosine.
    """
    console = evaluation.console
    query = labelled_rows(evaluation.cache, evaluation.split, "test")
    among = labelled_rows(Cache(gallery) if gallery else query.cache, None if gallery else query.split, "train")
    ks = [k for k in KS if k <= len(among.rows)]
    if len(ks) < len(KS):
        console.print(f"k of {len(among.rows)} at most: so many videos are in the gallery", highlight=False)
    q, q_labels = _vectors(evaluation, query, per)
    g, g_labels = _vectors(evaluation, among, "video")
    recall = recall_at_k(q - q.mean(axis=0), q_labels, g - g.mean(axis=0), g_labels, ks)
    path = evaluation.save(
        "retrieval",
        query.split,
        {f"recall@{k}": value for k, value in recall.items()},
        per=per,
        gallery=str(among.cache.layout.root),
        queries=len(q),
        gallery_videos=len(g),
    )
    table = Table(
        *(f"R@{k}" for k in ks), title=f"{len(q)} queries, {len(g)} videos in the gallery", title_justify="left"
    )
    table.add_row(*(f"{value:.1%}" for value in recall.values()))
    console.print(table)
    console.print(f"{path}, {path.parent / 'results.csv'}", highlight=False)


def _vectors(evaluation: Evaluation, labelled: Labelled, per: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, C) and labels (N,), of videos or of all their windows."""
    features = evaluation.features(labelled.rows, evaluation.view(), cache=labelled.cache)
    if per == "video":
        return features.means(labelled.rows), labelled.labels
    clips = [features.of(int(row)).mean(axis=1) for row in labelled.rows]
    return np.concatenate(clips), np.repeat(labelled.labels, [len(c) for c in clips])

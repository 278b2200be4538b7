"""`s2vc-eval retrieval`."""

from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from eval.features import Features, View, extract, window_count
from eval.labelled import Labelled, labelled_rows
from eval.results import describe, save_result
from eval.retrieval import recall_at_k
from eval.subject import Subject, load_subject
from manifests.errors import UserError
from pipeline.cache import Cache
from pipeline.cli.options import FOLDER, cache_argument
from pipeline.progress import progress
from training.backbones import BACKBONES
from training.loader import spare_cpus
from training.settings import CLIP_LENGTHS, SIZES

KS = (1, 5, 10, 20, 50)


@click.command("retrieval")
@cache_argument
@click.argument("checkpoint")
@click.option("--gallery", type=FOLDER, help="Cache whose training rows are the gallery.  [default: CACHE]")
@click.option("--split", default=None, help="Split column.  [default: the first]")
@click.option(
    "--per", type=click.Choice(["video", "clip"]), default="video", help="What a query is: a video, or a clip."
)
@click.option("--backbone", type=click.Choice(list(BACKBONES)), help="[default: the one that is in the checkpoint]")
@click.option("--size", type=click.IntRange(32), help="Pixels.  [default: the paper's for the backbone]")
@click.option("--frames", type=click.IntRange(2), help="Of a window.  [default: the paper's for the backbone]")
@click.option("--frame-step", type=click.IntRange(1), default=1)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of random weights.")
@click.option("--out", type=FOLDER, default=Path("results"), help="Folder for numbers and features.")
def retrieval_command(
    cache: Path,
    checkpoint: str,
    gallery: Path | None,
    split: str | None,
    per: str,
    backbone: str | None,
    size: int | None,
    frames: int | None,
    frame_step: int,
    seed: int,
    out: Path,
) -> None:
    """Recall@1, 5, 10, 20 and 50 of CACHE's test videos among its training videos, by the features of CHECKPOINT.

    Features of windows by half their length are averaged per video, centred on each set's mean and compared by cosine.
    """
    console = Console()
    query = labelled_rows(Cache(cache), split, "test")
    among = labelled_rows(Cache(gallery) if gallery else query.cache, None if gallery else query.split, "train")
    subject = load_subject(checkpoint, backbone, seed)
    view = View(size or SIZES[subject.name], frames or CLIP_LENGTHS[subject.name], frame_step)
    ks = [k for k in KS if k <= len(among.rows)]
    if len(ks) < len(KS):
        console.print(f"k of {len(among.rows)} at most: so many videos are in the gallery", highlight=False)
    q, q_labels = _vectors(query, subject, view, out, per, console)
    g, g_labels = _vectors(among, subject, view, out, "video", console)
    recall = recall_at_k(q - q.mean(axis=0), q_labels, g - g.mean(axis=0), g_labels, ks)
    described = describe("retrieval", query.cache, query.split, subject, checkpoint, view)
    described |= {"per": per, "gallery": str(among.cache.layout.root), "queries": len(q), "gallery_videos": len(g)}
    path = save_result(out, _name(described), described, {f"recall@{k}": value for k, value in recall.items()})
    table = Table(
        *(f"R@{k}" for k in ks), title=f"{len(q)} queries, {len(g)} videos in the gallery", title_justify="left"
    )
    table.add_row(*(f"{value:.1%}" for value in recall.values()))
    console.print(table)
    console.print(f"{path}, {path.parent / 'results.csv'}", highlight=False)


def _vectors(
    labelled: Labelled, subject: Subject, view: View, out: Path, per: str, console: Console
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, C) and labels (N,), of videos or of all their windows."""
    features = _features(labelled.cache, subject, view, out, console)
    if per == "video":
        return features.means(labelled.rows), labelled.labels
    clips = [features.of(int(row)) for row in labelled.rows]
    return np.concatenate(clips), np.repeat(labelled.labels, [len(c) for c in clips])


def _features(cache: Cache, subject: Subject, view: View, out: Path, console: Console) -> Features:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    windows = sum(window_count(view.rule, int(n)) for n in cache.index["frames"])
    with progress("features", windows, "windows", console) as advance:
        return extract(cache, subject.backbone, view, out / "features", device, spare_cpus(), advance)


def _name(described: dict[str, object]) -> str:
    parts = [described[k] for k in ("task", "cache", "checkpoint", "split", "per")]
    words = [Path(str(p)).name if i in (1, 2) else str(p) for i, p in enumerate(parts)]
    if not all(words):
        raise UserError("a result needs a name: give the checkpoint by its path")
    return "-".join(words)

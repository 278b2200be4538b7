"""`s2vc-eval order`."""

import click
import numpy as np

from eval.classification import Classification
from eval.cli.evaluation import Evaluation, takes_checkpoint
from eval.cli.telling import tell_classification
from eval.defaults import LINEAR_EPOCHS
from eval.labelled import Labelled, split_rows
from eval.probe import Sample, fit_probe, scores_of_video
from pipeline.progress import progress

NAMES = ["natural", "shuffled"]


@click.command("order")
@takes_checkpoint
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS)
def order_command(evaluation: Evaluation, epochs: int) -> None:
    """Top-1 of telling natural clips from shuffled ones by the frozen features of CHECKPOINT (Fig. 1; Table 2 of the
    supplement).

    Every window of a video is shown as it is and with its frames in another order; a linear classifier learns from the
    training videos, and each test video, in both orders, scores the mean of its windows. Labels are not used.
    """
    views = [evaluation.view(order=name, seed=evaluation.seed * (name == "shuffled")) for name in NAMES]
    parts = {part: split_rows(evaluation.cache, evaluation.split, part) for part in ("train", "test")}
    samples: dict[str, list[Sample]] = {part: [] for part in parts}
    for target, view in enumerate(views):
        for part, (_, rows) in parts.items():
            features = evaluation.features(rows, view, f"{part} clips, {NAMES[target]}")
            samples[part] += [Sample(features, row, target) for row in rows.tolist()]
    with progress("classifier", epochs, "epochs", evaluation.console, counted="videos") as advance:
        probe = fit_probe(samples["train"], 2, epochs, evaluation.seed, advance)
    scores = np.stack([scores_of_video(probe, s.features, s.row) for s in samples["test"]])
    targets = np.array([s.target for s in samples["test"]])
    split, rows = parts["test"]
    tested = Labelled(evaluation.cache, split, np.tile(rows, len(NAMES)), targets)
    tell_classification(evaluation, "order", tested, Classification(scores, targets, NAMES), epochs_linear=epochs)

"""`s2vc-eval linear`."""

import click
import numpy as np

from eval.classification import Classification
from eval.cli.evaluation import Evaluation, takes_checkpoint
from eval.cli.telling import tell_classification
from eval.defaults import LINEAR_EPOCHS, TRAIN_VIEWS
from eval.labelled import Labelled, classes_of, labelled_rows
from eval.probe import Sample, fit_probe, scores_of_video
from pipeline.progress import progress


@click.command("linear")
@takes_checkpoint
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS)
@click.option(
    "--train-views",
    type=click.IntRange(1),
    default=TRAIN_VIEWS,
    help="Augmented views of each training clip whose features are kept; each costs a pass of the backbone.",
)
def linear_command(evaluation: Evaluation, epochs: int, train_views: int) -> None:
    """Top-1 and top-5 of a linear classifier on the frozen features of CHECKPOINT (paper, Table 1).

    L2-norm, batch norm and a linear layer learn from augmented clips of the training videos; the last epoch's are
    tested on ten crops (four corners and the centre, each also flipped) of every window of the test videos, softmax
    averaged over them.
    """
    trained = labelled_rows(evaluation.cache, evaluation.split, "train")
    tested = labelled_rows(evaluation.cache, evaluation.split, "test")
    result = probed(evaluation, trained, tested, epochs, train_views)
    tell_classification(evaluation, "linear", tested, result, epochs_linear=epochs, train_views=train_views)


def probed(
    evaluation: Evaluation, trained: Labelled, tested: Labelled, epochs: int, train_views: int
) -> Classification:
    """A linear classifier on frozen features, trained and tested."""
    labels, names = classes_of(trained, tested)
    augmented = evaluation.view(crops="augmented", draws=train_views, seed=evaluation.seed)
    train = evaluation.features(trained.rows, augmented, "training clips")
    test = evaluation.features(tested.rows, evaluation.view(crops="ten"), "test clips")
    targets = np.searchsorted(labels, trained.labels).tolist()
    samples = [Sample(train, row, target) for row, target in zip(trained.rows.tolist(), targets, strict=True)]
    with progress("classifier", epochs, "epochs", evaluation.console, counted="videos") as advance:
        probe = fit_probe(samples, len(labels), epochs, evaluation.seed, advance)
    scores = np.stack([scores_of_video(probe, test, row) for row in tested.rows.tolist()])
    return Classification(scores, np.searchsorted(labels, tested.labels), names)

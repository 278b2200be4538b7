"""`s2vc-eval finetune`."""

import dataclasses
from typing import Any

import click
import numpy as np

from s2vc.eval.classification import Classification
from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.cli.print_classification import print_classification
from s2vc.eval.defaults import (
    BATCH,
    FINETUNE_BACKBONE_LR,
    FINETUNE_DROPOUT,
    FINETUNE_EPOCHS,
    LEARNING_RATE,
    WEIGHT_DECAY,
)
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import LabelledRows, classes_in, label_entry
from s2vc.eval.probe import scores_of_videos
from s2vc.eval.results import result_name
from s2vc.eval.supervised import init_setting, load_classifier, select_label_scores
from s2vc.eval.tasks import save_classification
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, Exit
from s2vc.training.cli.session import train_with_progress
from s2vc.training.prepare import prepare_run


@click.command("finetune")
@checkpoint_command
@label_option
@click.option("--epochs", type=click.IntRange(1), default=FINETUNE_EPOCHS)
@click.option("--batch", type=click.IntRange(2), default=BATCH)
def finetune_command(evaluation: Evaluation, epochs: int, batch: int) -> None:
    """Top-1 and top-5 of CHECKPOINT fine-tuned on the training videos, all layers (paper, Table 1).

    A linear classifier with dropout on the pooled features; the backbone learns at a tenth of its rate. The last
    epoch's weights are tested as in `linear`. Stopped and run again, it goes on from its checkpoint.
    """
    trained, tested = evaluation.labelled_parts()
    chosen = {
        "init": init_setting(evaluation.checkpoint),
        "dropout": FINETUNE_DROPOUT,
        "backbone_lr": FINETUNE_BACKBONE_LR,
    }
    result = train_and_test(evaluation, "finetune", trained, tested, "natural", epochs, batch, **chosen)
    path = save_classification(evaluation, "finetune", tested, result, epochs_finetune=epochs, batch=batch)
    print_classification(evaluation.console, path, result)


def train_and_test(
    evaluation: Evaluation,
    task: str,
    trained: LabelledRows,
    tested: LabelledRows,
    order: str,
    epochs: int,
    batch: int,
    **chosen: Any,
) -> Classification:
    """Train all layers on labels, or resume that, and test by ten crops of windows whose frames are in `order`.
    chosen: settings of the run beside those of the evaluation. Where the run is stopped, the program ends."""
    settings = {
        "cache": str(evaluation.cache.storage),
        "method": "supervised",
        "backbone": evaluation.evaluated.name,
        "split": trained.split,
        "size": evaluation.size,
        "clip_length": evaluation.frames,
        "frame_step": evaluation.frame_step,
        "mean": list(evaluation.evaluated.mean),
        "std": list(evaluation.evaluated.std),
        "seed": evaluation.seed,
        "epochs": epochs,
        "batch": batch,
        "lr": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "warmup_epochs": 0,
        **label_entry(evaluation.label),
        **chosen,
    }
    # It is named by what it is trained on, the contents and not the paths: a file may be replaced by another. A
    # classifier from scratch is the same for every checkpoint.
    init = settings.get("init", "")
    contents = {"weights": evaluation.evaluated.weights if init else "", "videos": trained.fingerprint}
    name = result_name({"task": task, **settings, "checkpoint": init, **contents})
    run = prepare_run(
        [settings, evaluation.cache.storage.local_settings()], evaluation.out / "runs" / name, evaluation.device
    )
    if not train_with_progress(run, evaluation.device, evaluation.console):
        raise Exit(EXIT_INTERRUPTED)
    evaluated, classifier = load_classifier(run.folder)
    view = evaluation.view(crops="ten", order=order)
    features = dataclasses.replace(evaluation, evaluated=evaluated).features(tested.rows, view, "test clips")
    scores = scores_of_videos(classifier, features, tested.rows)
    labels, names = classes_in(trained, tested)
    return Classification(select_label_scores(scores, labels), np.searchsorted(labels, tested.labels), names)

"""Fine-tune a backbone with progress, and test it: the work of `s2vc-eval finetune`, done by others as well."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from s2vc.eval.classification import Classification
from s2vc.eval.defaults import (
    BATCH,
    FINETUNE_BACKBONE_LR,
    FINETUNE_DROPOUT,
    FINETUNE_EPOCHS,
    FINETUNE_RECIPES,
    LAST,
    LEARNING_RATE,
    NATURAL,
    PAPER,
    WEIGHT_DECAY,
    ClassifierRecipe,
    recipe_entries,
)
from s2vc.eval.evaluated_backbone import RANDOM, block_entry
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import LabelledRows, classes_in, label_entry, unseen_entry
from s2vc.eval.probe import scores_of_videos
from s2vc.eval.results import result_name
from s2vc.eval.supervised import BestCheckpoint, init_setting, load_classifier, select_label_scores
from s2vc.eval.tasks import save_classification
from s2vc.eval.validation import selected_epoch_line
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.terminal import print_paths
from s2vc.training.cli.session import train_with_progress
from s2vc.training.prepare import PreparedRun, prepare_run
from s2vc.training.regimes import PAPER as PAPER_REGIME

TrainRun = Callable[[PreparedRun], bool]
"""Trains a prepared run, and says whether it got to its end."""


def train_with_memory(run: PreparedRun, evaluation: Evaluation, activation_checkpointing: bool) -> bool:
    """Train a prepared run with progress. The memory that it takes is no part of what it learns, nor of its name."""
    settings = dataclasses.replace(run.settings, activation_checkpointing=activation_checkpointing)
    return train_with_progress(dataclasses.replace(run, settings=settings), evaluation.device, evaluation.console)


def finetune(
    evaluation: Evaluation,
    epochs: int = FINETUNE_EPOCHS,
    batch: int = BATCH,
    train_run: TrainRun | None = None,
    decays: tuple[float, ...] = FINETUNE_RECIPES[PAPER].decays,
    augment: str = "light",
    select: str = LAST,
) -> tuple[Path, Classification]:
    """Fine-tune and test a backbone, and save what came of it. train_run: as in `train_and_test`. decays: after these
    shares of the epochs the learning rate falls. augment: colours of the clips (training.settings). select: one of
    SELECTIONS; validation videos are not trained on."""
    trained, tested = evaluation.labelled_parts()
    kept, held_out = (trained, None) if select == LAST else evaluation.cut_validation(trained)
    chosen = {
        "init": init_setting(evaluation.checkpoint),
        "dropout": FINETUNE_DROPOUT,
        "backbone_lr": 1.0 if evaluation.checkpoint == RANDOM else FINETUNE_BACKBONE_LR,
        "augment": augment,
        "decays": list(decays),
    }
    result = train_and_test(evaluation, "finetune", kept, tested, NATURAL, epochs, batch, train_run, held_out, **chosen)
    how = {
        **recipe_entries(ClassifierRecipe(epochs, decays, min(batch, len(kept.rows))), "finetune"),
        "augment": augment,
        "select": select,
        "train_videos": len(kept.rows),
    }
    return save_classification(evaluation, "finetune", tested, result, unseen_entry(kept, tested), **how), result


def train_and_test(
    evaluation: Evaluation,
    task: str,
    trained: LabelledRows,
    tested: LabelledRows,
    order: str,
    epochs: int,
    batch: int,
    train_run: TrainRun | None = None,
    held_out: LabelledRows | None = None,
    **chosen: Any,
) -> Classification:
    """Train all layers on labels, or resume that, and test by ten crops of windows.

    order: of the frames of tested windows, as those have it that are learned from. train_run: None trains with
    progress. held_out: the validation videos that select the epoch, None for the last one. chosen: settings of the run
    beside those of the evaluation. Where the run is stopped, the program ends.
    """
    settings = _run_settings(evaluation, trained, epochs, batch) | chosen
    # It is named by what it is trained on, the contents and not the paths: a file may be replaced by another. A
    # classifier from scratch is the same for every checkpoint.
    init = settings.get("init", "")
    contents = {"weights": evaluation.evaluated.weights if init else "", "videos": trained.fingerprint}
    name = result_name({"task": task, **settings, "checkpoint": init, **contents})
    ids = evaluation.cache.index["video_id"].to_numpy()
    run = prepare_run(
        [settings, evaluation.cache.storage.local_settings(), _part_of_machine(evaluation)],
        evaluation.out / "runs" / name,
        evaluation.device,
        [] if held_out is None else ids[held_out.rows].tolist(),
    )
    best = None if held_out is None else BestCheckpoint(evaluation, run.folder, run.settings, held_out)
    if best:
        run = dataclasses.replace(run, on_epoch=best)
    if not (train_run(run) if train_run else train_with_progress(run, evaluation.device, evaluation.console)):
        raise Exit(EXIT_INTERRUPTED)
    if best:
        evaluation.console.print(selected_epoch_line(best.epoch, best.share))
        print_paths(evaluation.console, best.path)
    evaluated, classifier = load_classifier(best.path if best else run.folder.checkpoint)
    view = evaluation.view(crops="ten", order=order)
    classified = dataclasses.replace(evaluation, evaluated=evaluated, learned_order=order)
    features = classified.features(tested.rows, view, "test clips")
    scores = scores_of_videos(classifier, features, tested.rows)
    labels, names = classes_in(trained, tested)
    targets = np.searchsorted(labels, tested.labels)
    return Classification(select_label_scores(scores, labels), targets, names, best.epoch if best else None)


def _part_of_machine(evaluation: Evaluation) -> dict[str, Any]:
    """Give the settings that keep a run to the CPUs of its evaluation; none where it may use them all."""
    return {} if evaluation.cpus is None else {"loader_workers": evaluation.readers}


def _run_settings(evaluation: Evaluation, trained: LabelledRows, epochs: int, batch: int) -> dict[str, Any]:
    """Give the settings of a run that learns classes as published: its schedule does not depend on the set's size."""
    return {
        "cache": str(evaluation.cache.storage),
        "method": "supervised",
        "regime": PAPER_REGIME,
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
        **block_entry(evaluation.evaluated.backbone),
    }

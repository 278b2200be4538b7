"""The classifier whose class activation maps are drawn: that of `linear`, or the one of a run of `finetune`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from s2vc.eval.analyses.class_activation import ClassifiedRows
from s2vc.eval.defaults import CAM_LINEAR, LINEAR_RECIPES, PAPER
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import classes_in
from s2vc.eval.probe import LinearProbe
from s2vc.eval.supervised import BEST, load_classifier
from s2vc.eval.tasks import train_probe
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.progress import count
from s2vc.training.choices import LABEL
from s2vc.training.labels import read_labels
from s2vc.training.run_folder import RunFolder, run_settings


def classified_rows(
    evaluation: Evaluation, rows: np.ndarray, classifier: str, epochs: int, train_views: int
) -> ClassifiedRows:
    """Give the classifier, and the class of each row (N,) of the index that is looked at.

    classifier: `linear` trains one as the task `linear` does, by epochs and train_views; `finetune` takes the one that
    the checkpoint holds, the folder of a run that learned labels or a file of it. Raises UserError where the checkpoint
    holds none, and for rows whose class it does not know.
    """
    found: LinearProbe | nn.Linear
    if classifier == CAM_LINEAR:
        trained, tested = evaluation.labelled_parts()
        labels, names = classes_in(trained, tested)
        found = train_probe(evaluation, trained, labels, replace(LINEAR_RECIPES[PAPER], epochs=epochs), train_views)
        known = {name: number for number, name in enumerate(names)}
    else:
        path = Path(evaluation.checkpoint)
        try:
            found = loaded = load_classifier(RunFolder(path).checkpoint if path.is_dir() else path)[1]
        except (KeyError, UserError):
            raise UserError(
                f"{evaluation.checkpoint} is no run that holds a classifier: take the folder of a run of `finetune`, "
                "such as results/runs/finetune-…, or --cam linear"
            ) from None
        if (path / BEST).exists():
            evaluation.console.print(f"the last epoch's weights; {path / BEST} has those of the epoch that was tested")
        known = _learned_names(evaluation.checkpoint, loaded.out_features)
    classes = read_labels(evaluation.cache, evaluation.label)
    unknown = [row for row in rows.tolist() if str(classes.names[row]) not in known]
    if unknown:
        video = evaluation.cache.index["video_id"].iloc[unknown[0]]
        raise UserError(f"the classifier does not know the class of {count(len(unknown), 'video')}, first {video}")
    targets = {row: (known[str(classes.names[row])], str(classes.names[row])) for row in rows.tolist()}
    return ClassifiedRows(found.to(evaluation.device), targets)


def _learned_names(checkpoint: str, outputs: int) -> dict[str, int]:
    """Return the output of a run's classifier for the name of each class that it learned: numbers of classes are of
    the run's own cache and column, which may be others than those that are looked at.

    Raises UserError where the run's cache cannot be read any more.
    """
    settings = run_settings(Path(checkpoint))
    learned = read_labels(Cache(str(settings.get("cache", ""))), str(settings.get("label", LABEL)))
    known = {str(name): int(number) for name, number in zip(learned.names, learned.numbers, strict=True) if number >= 0}
    return {name: number for name, number in known.items() if number < outputs}

"""The tasks on frozen features, from a checkpoint on a cache to numbers on disk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from s2vc.eval.classification import Classification
from s2vc.eval.defaults import (
    KS,
    LAST,
    LINEAR_EPOCHS,
    LINEAR_RECIPES,
    NATURAL,
    PAPER,
    REDRAWN,
    TRAIN_VIEWS,
    ClassifierRecipe,
    recipe_entries,
)
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.features import Features
from s2vc.eval.labelled import LabelledRows, classes_in, part_entry, unseen_entry
from s2vc.eval.probe import (
    DrawEpoch,
    LinearProbe,
    ProbeSample,
    fit_probe,
    kept_features,
    limited_batch,
    lowered_batch_notes,
    scores_of_video,
    scores_of_videos,
)
from s2vc.eval.redrawn import redrawn_features
from s2vc.eval.retrieval import hit_ranks
from s2vc.eval.validation import BestEpoch, selected_epoch_line
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.progress import progress

ORDER_CLASSES = ["natural", "shuffled"]


@dataclass(frozen=True)
class Retrieved:
    """Holds what recall is compared with. chance: recall@1 where the nearest is any of the gallery."""

    queries: int
    gallery_videos: int
    chance: float


def chance_of_recall(query_labels: np.ndarray, gallery_labels: np.ndarray) -> float:
    """Compute recall@1 of a nearest that is drawn from the gallery: the mean, over queries (Q,), of the share of the
    gallery (G,) that is of the query's class."""
    classes, counts = np.unique(gallery_labels, return_counts=True)
    of = dict(zip(classes.tolist(), (counts / len(gallery_labels)).tolist(), strict=True))
    return float(np.mean([of.get(label, 0.0) for label in query_labels.tolist()]))


def retrieval(
    evaluation: Evaluation,
    gallery: Cache | None = None,
    per: str = "video",
    clips: int | None = None,
    order: str = NATURAL,
) -> tuple[Path, dict[int, float], Retrieved]:
    """Compute recall@k of the test videos among the training videos, of the same cache or of another: {k: share}, for
    those of KS that the gallery has videos for; and what it is compared with.

    per: `video` averages features over a video's windows; with `clip` every window of a test video is a query. clips:
    so many of a video, spread evenly, in place of windows by half their length. order: of the frames of all clips, one
    of defaults.ORDERS. The JSON has the rank of each query's nearest of its class, from 0, and names the split column
    of another cache's gallery.
    """
    train, query = evaluation.labelled_parts(gallery)
    ks = [k for k in KS if k <= len(train.rows)]
    view = evaluation.view(clips=clips, order=order)
    features = evaluation.features(query.rows, view, "queries")
    q, q_labels = _vectors(features, query, per)
    g, g_labels = _vectors(evaluation.features(train.rows, view, "gallery", train.cache), train, "video")
    q -= q.mean(axis=0)
    g -= g.mean(axis=0)
    ranks = hit_ranks(q, q_labels, g, g_labels).numpy()
    recall = {k: float((ranks < k).mean()) for k in ks}
    chance = chance_of_recall(q_labels, g_labels)
    windows = np.diff(features.offsets)[query.rows] if per == "clip" else 1
    videos = np.repeat(query.cache.index["video_id"].to_numpy()[query.rows], windows)
    path = evaluation.save(
        "retrieval",
        query.split,
        {f"recall@{k}": value for k, value in recall.items()} | unseen_entry(train, query),
        {
            "chance": {"recall@1": chance},
            "ranks": [[video, rank] for video, rank in zip(videos.tolist(), ranks.tolist(), strict=True)],
        },
        per=per,
        gallery=str(train.cache.storage),
        queries=len(q),
        gallery_videos=len(g),
        test_videos=len(query.rows),
        **part_entry(query.part),
        **({} if gallery is None else {"gallery_split": train.split}),
        **({} if clips is None else {"clips": clips}),
        **({} if order == NATURAL else {"frame_order": order}),
    )
    return path, recall, Retrieved(len(q), len(g), chance)


def linear(
    evaluation: Evaluation,
    recipe: ClassifierRecipe = LINEAR_RECIPES[PAPER],
    train_views: int = TRAIN_VIEWS,
    augment: str = "light",
    select: str = LAST,
) -> tuple[Path, Classification]:
    """Train a linear classifier on augmented clips of the training videos, and test it on ten crops of test windows.

    train_views: kept of each clip, 0: drawn anew at every step. augment: colours of these (training.settings). select:
    one of SELECTIONS; validation videos are not trained on.
    """
    trained, tested = evaluation.labelled_parts()
    kept, held_out = (trained, None) if select == LAST else evaluation.cut_validation(trained)
    result = probe_features(evaluation, kept, tested, recipe, train_views, augment, held_out)
    used = replace(recipe, batch=limited_batch(recipe.batch, len(kept.rows)))
    how = {
        **recipe_entries(used, "linear"),
        "train_views": train_views or REDRAWN,
        "augment": augment,
        "select": select,
        "train_videos": len(kept.rows),
    }
    return save_classification(evaluation, "linear", tested, result, unseen_entry(kept, tested), **how), result


def probe_features(
    evaluation: Evaluation,
    trained: LabelledRows,
    tested: LabelledRows,
    recipe: ClassifierRecipe = LINEAR_RECIPES[PAPER],
    train_views: int = TRAIN_VIEWS,
    augment: str = "light",
    held_out: LabelledRows | None = None,
) -> Classification:
    """Train and test the classifier of `linear`. held_out: the validation videos that select its epoch."""
    labels, names = classes_in(trained, tested)
    best = None if held_out is None else BestEpoch(_share_recognised(evaluation, held_out, labels))
    probe = train_probe(evaluation, trained, labels, recipe, train_views, augment, best)
    if best:
        probe.load_state_dict(best.weights)
        evaluation.console.print(selected_epoch_line(best.epoch, best.share))
    test = evaluation.features(tested.rows, evaluation.view(crops="ten"), "test clips")
    scores = scores_of_videos(probe, test, tested.rows)
    return Classification(scores, np.searchsorted(labels, tested.labels), names, best.epoch if best else None)


def train_probe(
    evaluation: Evaluation,
    trained: LabelledRows,
    labels: np.ndarray,
    recipe: ClassifierRecipe = LINEAR_RECIPES[PAPER],
    train_views: int = TRAIN_VIEWS,
    augment: str = "light",
    watch: Callable[[nn.Module, int], None] | None = None,
) -> LinearProbe:
    """Train the classifier of `linear`, whose outputs are for `labels` (classes,), ascending. watch: as in
    `fit_probe`."""
    for line in lowered_batch_notes(recipe.batch, len(trained.rows)):
        evaluation.console.print(line)
    draw = _training_features(evaluation, trained, labels, recipe.batch, train_views, augment)
    width = int(evaluation.evaluated.backbone.feature_size)  # type: ignore[arg-type]
    with progress("classifier", recipe.epochs, "epochs", evaluation.console, counted="videos") as advance:
        return fit_probe(draw, width, len(labels), recipe, evaluation.seed, advance, watch)


def _training_features(
    evaluation: Evaluation, trained: LabelledRows, labels: np.ndarray, batch: int, train_views: int, augment: str
) -> DrawEpoch:
    """Prepare what a linear classifier learns from: kept features, or with no `train_views` such as are drawn anew."""
    targets, seed = np.searchsorted(labels, trained.labels), evaluation.seed
    view = evaluation.view(crops="augmented", draws=max(train_views, 1), augment=augment, seed=seed)
    if not train_views:
        cache, device = evaluation.cache, evaluation.device
        readers = evaluation.readers
        return redrawn_features(cache, trained.rows, targets, evaluation.backbone, view, batch, device, readers)
    features = evaluation.features(trained.rows, view, "training clips")
    samples = [ProbeSample(features, row, int(t)) for row, t in zip(trained.rows.tolist(), targets, strict=True)]
    return kept_features(samples, batch, seed)


def _share_recognised(
    evaluation: Evaluation, held_out: LabelledRows, labels: np.ndarray
) -> Callable[[nn.Module], float]:
    """Prepare what scores a classifier of features: the share of validation videos that it recognises by the centre
    crops of their windows."""
    features = evaluation.features(held_out.rows, evaluation.view(), "validation clips")
    targets = np.searchsorted(labels, held_out.labels)

    def score(classifier: nn.Module) -> float:
        return float((scores_of_videos(classifier, features, held_out.rows).argmax(axis=1) == targets).mean())

    return score


def order(evaluation: Evaluation, epochs: int = LINEAR_EPOCHS) -> tuple[Path, Classification]:
    """Train a linear classifier on natural and shuffled windows; each test video scores in both orders."""
    views = [evaluation.view(order=name, seed=evaluation.seed * (name == "shuffled")) for name in ORDER_CLASSES]
    parts = evaluation.split_parts()
    samples: tuple[list[ProbeSample], list[ProbeSample]] = ([], [])
    for target, view in enumerate(views):
        for part, of_part in zip(parts, samples, strict=True):
            features = evaluation.features(part.rows, view, f"{part.part} clips, {ORDER_CLASSES[target]}")
            of_part += [ProbeSample(features, row, target) for row in part.rows.tolist()]
    recipe, width = replace(LINEAR_RECIPES[PAPER], epochs=epochs), int(evaluation.evaluated.backbone.feature_size)  # type: ignore[arg-type]
    for line in lowered_batch_notes(recipe.batch, len(samples[0])):
        evaluation.console.print(line)
    draw = kept_features(samples[0], recipe.batch, evaluation.seed)
    with progress("classifier", epochs, "epochs", evaluation.console, counted="videos") as advance:
        probe = fit_probe(draw, width, len(ORDER_CLASSES), recipe, evaluation.seed, advance)
    scores = np.stack([scores_of_video(probe, s.features, s.row) for s in samples[1]])
    targets = np.array([s.target for s in samples[1]])
    tested = replace(parts[1], rows=np.tile(parts[1].rows, len(ORDER_CLASSES)), labels=targets)
    result = Classification(scores, targets, ORDER_CLASSES)
    return save_classification(evaluation, "order", tested, result, epochs_linear=epochs), result


def save_classification(
    evaluation: Evaluation,
    task: str,
    tested: LabelledRows,
    result: Classification,
    more: dict[str, float] | None = None,
    **how: Any,
) -> Path:
    """Save accuracies by class and what each video was taken for, a row of the table, and the confusion matrix. more:
    numbers beside those of the result."""
    videos = evaluation.cache.index["video_id"].to_numpy()[tested.rows].tolist()
    path = evaluation.save(
        task,
        tested.split,
        result.numbers | (more or {}),
        {**result.details, "videos": result.by_video(videos)},
        test_videos=len(videos),
        **part_entry(tested.part),
        **how,
    )
    numbers = ", ".join(f"{name} {value:.1%}" for name, value in result.numbers.items())
    result.plot(path.with_suffix(".png"), f"{task}: {numbers}")
    return path


def _vectors(features: Features, labelled: LabelledRows, per: str) -> tuple[np.ndarray, np.ndarray]:
    """Give features (N, C) and labels (N,), of videos or of all their windows."""
    if per == "video":
        return features.video_means(labelled.rows), labelled.labels
    clips = [features.windows_of(int(row)).mean(axis=1) for row in labelled.rows]
    return np.concatenate(clips), np.repeat(labelled.labels, [len(c) for c in clips])

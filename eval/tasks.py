"""The tasks on frozen features, from a checkpoint on a cache to numbers on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from s2vc.eval.classification import Classification
from s2vc.eval.defaults import KS, LINEAR_EPOCHS, TRAIN_VIEWS
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.features import Features
from s2vc.eval.labelled import LabelledRows, classes_in, split_rows
from s2vc.eval.probe import ProbeSample, fit_probe, scores_of_video, scores_of_videos
from s2vc.eval.retrieval import hit_ranks
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.progress import progress

ORDER_CLASSES = ["natural", "shuffled"]


def retrieval(
    evaluation: Evaluation, gallery: Cache | None = None, per: str = "video"
) -> tuple[Path, dict[int, float]]:
    """Compute recall@k of the test videos among the training videos, of the same cache or of another: {k: share}, for
    those of KS that the gallery has videos for.

    per: `video` averages features over a video's windows; with `clip` every window of a test video is a query. The JSON
    has the rank of each query's nearest of its class, from 0.
    """
    train, query = evaluation.labelled_parts(gallery)
    ks = [k for k in KS if k <= len(train.rows)]
    features = evaluation.features(query.rows, evaluation.view(), "queries")
    q, q_labels = _vectors(features, query, per)
    g, g_labels = _vectors(evaluation.features(train.rows, evaluation.view(), "gallery", train.cache), train, "video")
    q -= q.mean(axis=0)
    g -= g.mean(axis=0)
    ranks = hit_ranks(q, q_labels, g, g_labels).numpy()
    recall = {k: float((ranks < k).mean()) for k in ks}
    windows = np.diff(features.offsets)[query.rows] if per == "clip" else 1
    videos = np.repeat(query.cache.index["video_id"].to_numpy()[query.rows], windows)
    path = evaluation.save(
        "retrieval",
        query.split,
        {f"recall@{k}": value for k, value in recall.items()},
        {"ranks": [[video, rank] for video, rank in zip(videos.tolist(), ranks.tolist(), strict=True)]},
        per=per,
        gallery=str(train.cache.storage),
        queries=len(q),
        gallery_videos=len(g),
    )
    return path, recall


def linear(
    evaluation: Evaluation, epochs: int = LINEAR_EPOCHS, train_views: int = TRAIN_VIEWS
) -> tuple[Path, Classification]:
    """Train a linear classifier on augmented clips of the training videos, and test it on ten crops of test windows."""
    trained, tested = evaluation.labelled_parts()
    result = probe_features(evaluation, trained, tested, epochs, train_views)
    how = {"epochs_linear": epochs, "train_views": train_views}
    return save_classification(evaluation, "linear", tested, result, **how), result


def probe_features(
    evaluation: Evaluation, trained: LabelledRows, tested: LabelledRows, epochs: int, train_views: int
) -> Classification:
    """Train and test the classifier of `linear`."""
    labels, names = classes_in(trained, tested)
    augmented = evaluation.view(crops="augmented", draws=train_views, seed=evaluation.seed)
    train = evaluation.features(trained.rows, augmented, "training clips")
    test = evaluation.features(tested.rows, evaluation.view(crops="ten"), "test clips")
    targets = np.searchsorted(labels, trained.labels).tolist()
    samples = [ProbeSample(train, row, target) for row, target in zip(trained.rows.tolist(), targets, strict=True)]
    with progress("classifier", epochs, "epochs", evaluation.console, counted="videos") as advance:
        probe = fit_probe(samples, len(labels), epochs, evaluation.seed, advance)
    scores = scores_of_videos(probe, test, tested.rows)
    return Classification(scores, np.searchsorted(labels, tested.labels), names)


def order(evaluation: Evaluation, epochs: int = LINEAR_EPOCHS) -> tuple[Path, Classification]:
    """Train a linear classifier on natural and shuffled windows; each test video scores in both orders."""
    views = [evaluation.view(order=name, seed=evaluation.seed * (name == "shuffled")) for name in ORDER_CLASSES]
    parts = {part: split_rows(evaluation.cache, evaluation.split, part) for part in ("train", "test")}
    samples: dict[str, list[ProbeSample]] = {part: [] for part in parts}
    for target, view in enumerate(views):
        for part, (_, rows) in parts.items():
            features = evaluation.features(rows, view, f"{part} clips, {ORDER_CLASSES[target]}")
            samples[part] += [ProbeSample(features, row, target) for row in rows.tolist()]
    with progress("classifier", epochs, "epochs", evaluation.console, counted="videos") as advance:
        probe = fit_probe(samples["train"], len(ORDER_CLASSES), epochs, evaluation.seed, advance)
    scores = np.stack([scores_of_video(probe, s.features, s.row) for s in samples["test"]])
    targets = np.array([s.target for s in samples["test"]])
    split, rows = parts["test"]
    tested = LabelledRows(evaluation.cache, split, np.tile(rows, len(ORDER_CLASSES)), targets)
    result = Classification(scores, targets, ORDER_CLASSES)
    return save_classification(evaluation, "order", tested, result, epochs_linear=epochs), result


def save_classification(
    evaluation: Evaluation, task: str, tested: LabelledRows, result: Classification, **how: Any
) -> Path:
    """Save accuracies by class and what each video was taken for, a row of the table, and the confusion matrix."""
    videos = evaluation.cache.index["video_id"].to_numpy()[tested.rows].tolist()
    path = evaluation.save(
        task, tested.split, result.numbers, {**result.details, "videos": result.by_video(videos)}, **how
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

"""The linear classifier: what it must reach, and what a video of several windows and crops scores."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from s2vc.eval.defaults import FINETUNE_RECIPES, LINEAR_RECIPES, ClassifierRecipe
from s2vc.eval.features import Features
from s2vc.eval.probe import (
    LinearProbe,
    ProbeSample,
    fit_probe,
    kept_features,
    lowered_batch_notes,
    scores_of_video,
    shuffled_batches,
)
from s2vc.eval.validation import BestEpoch
from s2vc.pipeline.reporting import no_progress
from s2vc.pipeline.storage.hdf5 import write_shard
from s2vc.training.backbones import build_backbone
from s2vc.training.methods import Classifier
from s2vc.training.schedule import learning_rate
from s2vc.training.settings import merge_settings

WIDTH, CROPS = 12, 3


def write_features(path: Path, videos: list[np.ndarray]) -> Features:
    """Features of videos, each (windows, CROPS, WIDTH)."""
    with write_shard(path) as file:
        stored = file.growing("features", (CROPS, WIDTH), np.float32, 4)
        stored.append(np.concatenate(videos).astype(np.float32))
        file.put("offsets", np.cumsum([0, *map(len, videos)]))
    return Features(path)


def clouds(path: Path, videos: int, classes: int, seed: int) -> tuple[Features, np.ndarray]:
    """Videos of 1 to 4 windows; a class has a direction of its own, far from the others for the noise there is."""
    rng = np.random.default_rng(seed)
    centres = 3 * np.eye(classes, WIDTH)
    targets = np.arange(videos) % classes
    made = [centres[t] + 0.3 * rng.standard_normal((rng.integers(1, 5), CROPS, WIDTH)) for t in targets]
    return write_features(path, made), targets


def accuracy(probe: nn.Module, features: Features, targets: np.ndarray) -> float:
    scores = np.stack([scores_of_video(probe, features, row) for row in range(len(targets))])
    return float((scores.argmax(axis=1) == targets).mean())


def fitted(features: Features, targets: np.ndarray, classes: int, seed: int = 0, epochs: int = 30) -> LinearProbe:
    samples = [ProbeSample(features, row, int(target)) for row, target in enumerate(targets)]
    with no_progress(epochs) as advance:
        recipe = ClassifierRecipe(epochs, (0.6, 0.8), 128)
        return fit_probe(kept_features(samples, 128, seed), WIDTH, classes, recipe, seed, advance)


def test_a_separable_set_is_learned_whole_and_labels_without_a_trace_are_not(tmp_path: Path) -> None:
    train, targets = clouds(tmp_path / "train.h5", 120, 4, seed=0)
    test, test_targets = clouds(tmp_path / "test.h5", 80, 4, seed=1)
    assert accuracy(fitted(train, targets, 4), test, test_targets) == 1.0
    rng = np.random.default_rng(2)
    noise = [write_features(tmp_path / f"{n}.h5", list(rng.standard_normal((n, 2, CROPS, WIDTH)))) for n in (120, 80)]
    shuffled = rng.permutation(targets)
    # 80 videos at chance, 1/4: four standard deviations are 0.19.
    assert abs(accuracy(fitted(noise[0], shuffled, 4), noise[1], test_targets) - 0.25) < 0.2


def test_what_comes_of_it_depends_on_the_seed_alone(tmp_path: Path) -> None:
    train, targets = clouds(tmp_path / "train.h5", 20, 2, seed=0)
    torch.manual_seed(1)
    one = fitted(train, targets, 2, epochs=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = fitted(train, targets, 2, epochs=3), fitted(train, targets, 2, seed=1, epochs=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.linear.weight, again.linear.weight)
    assert not torch.equal(one.linear.weight, other.linear.weight)


def test_classifiers_start_small_as_published() -> None:
    torch.manual_seed(0)
    of_layers = Classifier(build_backbone("s3d"), 101).encoder_q[-1]
    for layer in (LinearProbe(1024, 101).linear, of_layers):
        assert abs(float(layer.weight.detach().std()) - 0.01) < 1e-4 and not layer.bias.any()


def test_the_first_of_the_best_epochs_is_kept() -> None:
    shares = iter([0.2, 0.6, 0.6, 0.5])
    best, layer = BestEpoch(lambda classifier: next(shares)), nn.Linear(1, 1)
    for epoch in range(1, 5):
        nn.init.constant_(layer.weight, epoch)
        best(layer, epoch)
    assert (best.epoch, best.share, float(best.weights["weight"])) == (2, 0.6, 2.0)


@pytest.mark.parametrize(
    ("recipes", "dataset", "drops"),
    [
        (LINEAR_RECIPES, "ucf101", (60, 80)),
        (LINEAR_RECIPES, "hmdb51", (40, 60)),
        (FINETUNE_RECIPES, "ucf101", (130, 180)),
        (FINETUNE_RECIPES, "hmdb51", (100, 150)),
    ],
)
def test_published_rates_fall_after_the_published_epochs(
    recipes: dict[str, ClassifierRecipe], dataset: str, drops: tuple[int, int]
) -> None:
    recipe = recipes[f"published-{dataset}"]
    assert [round(share * recipe.epochs) for share in recipe.decays] == list(drops)  # as fit_probe counts
    given = {"method": "supervised", "cache": "c", "epochs": recipe.epochs, "decays": list(recipe.decays)}
    settings = merge_settings(given, {"warmup_epochs": 0, "schedule": "step", "lr": 1.0})
    rates = np.array([learning_rate(settings, 7, done) for done in range(7 * recipe.epochs)])
    assert (1 + np.flatnonzero(np.diff(rates) < 0)).tolist() == [7 * drop for drop in drops]
    assert sorted(set(rates.round(6)), reverse=True) == [1.0, 0.1, 0.01]


@pytest.mark.parametrize("videos", [17, 129])
def test_a_last_batch_of_one_is_not_made(tmp_path: Path, videos: int) -> None:
    # AdaptiveBatches of 8, and one left over: batch norm could not train on it alone.
    train, targets = clouds(tmp_path / "train.h5", videos, 2, seed=0)
    assert accuracy(fitted(train, targets, 2, epochs=60), train, targets) > 0.9


@pytest.mark.parametrize(
    ("videos", "batch", "sizes"),
    [(120, 32, {8}), (120, 128, {8}), (120, 4, {4}), (5, 2, {2, 3}), (6, 128, {6}), (1600, 128, {100}), (3, 2, {3})],
)
def test_batches_are_as_large_as_asked_for_or_a_line_says_what_they_are(
    videos: int, batch: int, sizes: set[int]
) -> None:
    parts = shuffled_batches(videos, batch, np.random.default_rng(0))
    assert {len(part) for part in parts} == sizes
    assert sorted(np.concatenate(parts).tolist()) == list(range(videos))
    notes = lowered_batch_notes(batch, videos)
    lowered = max(8, videos // 16)
    assert bool(notes) == (lowered < batch)
    assert all(line.startswith(f"batch {batch} lowered to {lowered}") for line in notes)


def test_a_video_scores_the_mean_of_its_windows_and_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    videos = [rng.standard_normal((windows, CROPS, WIDTH)) for windows in (2, 1, 3)]
    features = write_features(tmp_path / "f.h5", videos)
    linear = nn.Linear(WIDTH, 5).eval()
    weight, bias = (p.detach().double().numpy() for p in (linear.weight, linear.bias))
    for row, video in enumerate(videos):
        logits = video.astype(np.float32).astype(np.float64) @ weight.T + bias
        softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(scores_of_video(linear, features, row), softmax.mean(axis=(0, 1)), atol=1e-6)


def test_features_are_normalised_by_length_and_by_running_statistics(tmp_path: Path) -> None:
    train, targets = clouds(tmp_path / "train.h5", 20, 2, seed=0)
    probe = fitted(train, targets, 2, epochs=3)
    x = torch.randn(7, WIDTH)
    unit = (x / x.norm(dim=1, keepdim=True) - probe.norm.running_mean) / (probe.norm.running_var + 1e-5).sqrt()
    expected = (unit * probe.norm.weight + probe.norm.bias) @ probe.linear.weight.T + probe.linear.bias
    torch.testing.assert_close(probe(x), expected)
    torch.testing.assert_close(probe(5 * x), probe(x))

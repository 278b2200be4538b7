"""Whether a run learns: learning is distinguished from chance, a warning comes once, lines stay short."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from s2vc.training.cli.session import _learning_summary, _progress_shown, progress_note
from s2vc.training.learning import (
    AVERAGED_STEPS,
    STEPS_BEFORE_WARNING,
    LearningWatch,
    at_chance,
    best_before,
    candidate_count,
    suggestions,
)
from s2vc.training.moco import MoCo
from s2vc.training.regimes import REGIMES
from s2vc.training.run_folder import RunFolder, TrainingStep
from s2vc.training.settings import merge_settings

BATCH = 16
SMALL = merge_settings(REGIMES["small"], {"alpha": [0.5], "batch": BATCH})


class Tiny(nn.Sequential):
    """A backbone of one convolution."""

    feature_size = 8

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(3, 8, (2, 3, 3)), nn.BatchNorm3d(8), nn.ReLU())


def trained(steps: int, related: bool) -> list[float]:
    """Batch top-1 of real steps of MoCo without a queue, on clips of one colour each, with noise.

    related: a key has its query's colour; else another, so that there is nothing to learn.
    """
    torch.manual_seed(0)
    model = MoCo(Tiny(), dim=8, queue=0, momentum=0.99, temperature=0.1, groups=2)
    optimizer = torch.optim.Adam(model.encoder_q.parameters(), lr=1e-3)
    found = []
    for _ in range(steps):
        colours = torch.rand(2, BATCH, 3, 1, 1, 1)
        query, key = (_clips(colours[n * (not related)]) for n in range(2))
        logits, targets, batch_top1 = model(query, key)
        optimizer.zero_grad()
        functional.cross_entropy(logits, targets).backward()
        optimizer.step()
        found.append(float(batch_top1))
    return found


def _clips(colours: Tensor) -> Tensor:
    return (colours - 0.5) * 4 + 0.1 * torch.randn(BATCH, 3, 2, 5, 5)


@pytest.fixture(scope="module")
def guessing() -> list[float]:
    return trained(320, related=False)


@pytest.fixture(scope="module")
def learning() -> list[float]:
    return trained(320, related=True)


def test_a_run_that_learns_is_distinguished_from_one_that_cannot(guessing: list[float], learning: list[float]) -> None:
    assert at_chance(guessing[-AVERAGED_STEPS:], BATCH)
    assert not at_chance(learning[-AVERAGED_STEPS:], BATCH)
    assert np.mean(learning[-AVERAGED_STEPS:]) > 3 / BATCH


@pytest.mark.parametrize("candidates", [2, 12, 40, 256])
def test_guessing_is_hardly_ever_taken_for_learning(candidates: int) -> None:
    rng = np.random.default_rng(0)
    hits = rng.binomial(candidates, 1 / candidates, size=(2000, AVERAGED_STEPS)) / candidates
    assert np.mean([at_chance(shares, candidates) for shares in hits.tolist()]) > 0.99


def test_the_measured_cases_are_distinguished() -> None:
    # README's run on 120 clips: its first 60 steps and its last; and the queue of keys recognised by their age.
    assert not at_chance([0.051] * 60, 30) and not at_chance([0.168] * 60, 30)
    assert at_chance([0.10] * 20, 12)
    # Where all embeddings have become one, the first key is everybody's nearest.
    assert at_chance([1 / 40] * AVERAGED_STEPS, 40)


def test_what_is_no_number_is_not_judged() -> None:
    assert not at_chance([], 40) and not at_chance([float("nan")] * 9, 40)


def records(shares: list[float]) -> list[TrainingStep]:
    return [TrainingStep(n, 1, 2.0, share, 0.5, share, 1e-3, 9.0, 0.0) for n, share in enumerate(shares, 1)]


def warned_at(shares: list[float], warmup: int = 0) -> list[int]:
    watch = LearningWatch(BATCH, warmup)
    return [record.step for record in records(shares) if watch.add(record)]


def test_a_warning_comes_once_and_not_before_its_time(guessing: list[float], learning: list[float]) -> None:
    assert warned_at(guessing) == [STEPS_BEFORE_WARNING]
    assert warned_at(guessing, warmup=50) == [STEPS_BEFORE_WARNING + 50]
    assert warned_at(guessing, warmup=200) == []
    assert warned_at(learning) == []
    assert warned_at([float("nan")] * 320) == []  # classes: there are no keys


def test_the_watch_averages_the_latest_steps(learning: list[float]) -> None:
    watch = LearningWatch(BATCH, 0)
    for record in records(learning):
        watch.add(record)
    assert watch.mean == pytest.approx(np.mean(learning[-100:]))


@pytest.mark.parametrize("learns", [False, True])
def test_the_command_warns_in_a_line(
    learns: bool, guessing: list[float], learning: list[float], tmp_path: Path
) -> None:
    console = Console(record=True, width=400, force_terminal=False)
    with _progress_shown(RunFolder(tmp_path), 320, SMALL, 1 / BATCH, console) as show:
        for record in records(learning if learns else guessing):
            show(record)
    lines = [line for line in console.export_text().splitlines() if "guessing" in line]
    assert len(lines) == (0 if learns else 1)
    assert learns or "(6.2%). Try --symmetric, more steps (--epochs)" in lines[0]


@pytest.mark.parametrize(
    ("given", "tips"),
    [
        (REGIMES["small"], {"--epochs", "--lr", "preview"}),
        (REGIMES["paper"], {"--regime small", "--negatives batch", "larger crops", "--epochs", "--lr", "preview"}),
        (REGIMES["small"] | {"momentum": 0.999}, {"--momentum 0.99", "--epochs", "--lr", "preview"}),
        (REGIMES["small"] | {"key_scale": [0.2, 1]}, {"larger crops", "--epochs", "--lr", "preview"}),
        (REGIMES["small"] | {"method": "moco", "alpha": []}, {"--epochs", "--lr"}),
        ({"method": "supervised", "alpha": []}, {"--epochs", "--lr"}),
        ({"method": "dpc", "alpha": []}, {"--epochs", "--lr"}),
        ({"method": "dpc-s2vc"}, {"--epochs", "--lr", "preview"}),
    ],
)
def test_only_what_is_not_done_yet_is_advised(given: dict[str, object], tips: set[str]) -> None:
    known = {"--regime small", "--negatives batch", "larger crops", "--momentum 0.99", "--epochs", "--lr", "preview"}
    advice = suggestions(merge_settings({"alpha": [0.5]}, given))
    assert {tip for tip in known if tip in advice} == tips


def test_progress_names_chance_within_a_hundred_columns() -> None:
    record = TrainingStep(1570, 29, 3.4671, 0.0, 0.3, 0.01, 1e-3, 5.5, 0.004)
    settings = merge_settings({"alpha": [0.5], "batch": 128})
    note = progress_note(record, 0.1234, settings, 1 / 2049)
    assert note == "loss 3.47, own key first: 12.3% (chance 0.8%)"
    assert len(f"train: 1570/6000 steps, 0.18 steps/s, {note}, 49:14 min left") <= 100
    classes = TrainingStep(1570, 29, 1.5, 0.33, 0.8, float("nan"), 1e-3, 5.5, 0.31)
    labelled = merge_settings({"method": "supervised"})
    assert progress_note(classes, float("nan"), labelled, 0.2) == "loss 1.50, top-1 33% (chance 20.0%), waiting 31%"
    blocks = merge_settings({"method": "dpc", "batch": 128, "workers": 4})
    note = progress_note(record, 0.1234, blocks, 1 / (32 * 3 * 16))
    assert note == "loss 3.47, own clip first: 12.3% (chance 3.1%)"  # among the 32 clips of a process
    assert len(f"train: 1570/6000 steps, 0.18 steps/s, {note}, 49:14 min left") <= 100


def test_a_query_is_distinguished_from_all_keys_of_a_step_and_in_dpc_from_the_clips_of_a_process() -> None:
    several = {"batch": 16, "workers": 4}
    assert (
        candidate_count(merge_settings({"alpha": [0.5]}, several))
        == candidate_count(merge_settings({"method": "moco"}, several))
        == 16
    )
    assert candidate_count(merge_settings({"method": "dpc"}, several)) == 4
    assert candidate_count(merge_settings({"method": "dpc", "batch": 16})) == 16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": [0.5]}, "loss 2.000, own key first among 8: 25.0% (chance 12.5%), top-1 25.0% (chance 6.2%), "),
        (REGIMES["small"] | {"method": "moco"}, "loss 2.000, own key first among 8: 25.0% (chance 12.5%), "),
        (
            {"method": "dpc", "negatives": "batch"},
            "loss 2.000, own clip first among 8: 25.0% (chance 12.5%), top-1 25.0% (chance 6.2%), ",
        ),
    ],
)
def test_the_end_of_a_run_names_each_share_with_its_own_chance(given: dict[str, object], message: str) -> None:
    assert (
        _learning_summary(records([0.5, 0.0]), merge_settings({"batch": 8}, given), 1 / 16) == message + "top-5 50.0%"
    )


def hits(rng: np.random.Generator, *parts: tuple[int, float]) -> list[float]:
    """Batch top-1 of (steps, share) after (steps, share), of BATCH queries a step."""
    return [rng.binomial(BATCH, share) / BATCH for steps, share in parts for _ in range(steps)]


def test_what_was_learned_and_lost_again_is_told_from_a_run_that_stays() -> None:
    rng = np.random.default_rng(0)
    lost = best_before(hits(rng, (300, 0.1), (300, 0.4), (400, 0.2)), BATCH)
    assert lost == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / (100 * BATCH)))
    assert best_before(hits(rng, (200, 0.1), (400, 0.2), (400, 0.4)), BATCH) is None
    assert best_before(hits(rng, (199, 0.4)), BATCH) is None  # There are no two means to compare.
    assert best_before([float("nan")] * 500, BATCH) is None


def test_a_run_that_stays_is_hardly_ever_said_to_go_back() -> None:
    rng = np.random.default_rng(1)
    assert sum(best_before(hits(rng, (1000, 0.3)), BATCH) is not None for _ in range(200)) <= 10

"""Regimes: which is chosen for what, that whatever is given by name wins, and that a run keeps what was chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.prepare import describe_regime, with_regime
from s2vc.training.regimes import PAPER_STEPS, PAPER_VIDEOS, REGIMES
from s2vc.training.run_folder import RunFolder
from s2vc.training.schedule import warmup_steps
from s2vc.training.settings import PRESETS, TrainingSettings, merge_settings, read_settings_file, settings_yaml

ALPHA = {"alpha": [0.5]}
GIVEN = {
    "negatives": "queue",
    "momentum": 0.9,
    "temperature": 0.3,
    "schedule": "step",
    "warmup_share": 0.2,
    "query_scale": (0.3, 0.8),
    "key_scale": (0.4, 0.9),
}
"""For each setting of a regime, a value that it does not have in the small one."""


def of_regime(settings: TrainingSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in REGIMES["paper"]}


@pytest.mark.parametrize(
    ("layers", "videos", "expected"),
    [
        ([{"batch": 40, "epochs": 33}], 720, "small"),
        ([{"epochs": 1}], 2_999, "small"),
        ([{"epochs": 1}], 3_000, "paper"),
        ([{"batch": 40, "epochs": 555}], 720, "small"),  # 18 steps an epoch: 9,990
        ([{"batch": 40, "epochs": 556}], 720, "paper"),  # 10,008
        ([{"batch": 128, "epochs": 9_999}], 90, "small"),  # a batch is the whole set: a step an epoch
        ([PRESETS["ucf101"]], 720, "paper"),
        ([PRESETS["k400"], {"regime": "small"}], 240_000, "small"),
        ([{"regime": "paper"}], 20, "paper"),
        ([{"method": "supervised", "alpha": [], "epochs": 3}], 720, "small"),
    ],
)
def test_the_regime_is_the_papers_for_what_is_of_its_size(
    layers: list[dict[str, Any]], videos: int, expected: str
) -> None:
    settings = with_regime([ALPHA, *layers], videos)
    assert settings.regime == expected
    assert of_regime(settings) == REGIMES[expected]
    assert (PAPER_VIDEOS, PAPER_STEPS) == (3_000, 10_000)


def test_regimes_set_the_same_and_the_papers_are_the_defaults() -> None:
    assert REGIMES["small"].keys() == REGIMES["paper"].keys() == GIVEN.keys()
    assert of_regime(merge_settings(ALPHA)) == REGIMES["paper"]


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_given_by_name_wins_and_leaves_the_rest(name: str) -> None:
    settings = with_regime([ALPHA, {name: GIVEN[name]}], 720)
    assert of_regime(settings) == REGIMES["small"] | {name: GIVEN[name]}


def test_epochs_of_warm_up_that_are_given_are_not_overridden_by_a_share() -> None:
    settings = with_regime([ALPHA, {"warmup_epochs": 3}], 720)
    assert (settings.warmup_epochs, settings.warmup_share, settings.schedule) == (3, 0.0, "cosine")


def test_what_is_said_last_of_the_warm_up_wins_over_a_saved_run(tmp_path: Path) -> None:
    saved = with_regime([ALPHA, {"regime": "small"}], 720)
    (tmp_path / "settings.yaml").write_text(settings_yaml(saved))
    layer = read_settings_file(tmp_path / "settings.yaml")
    assert layer["warmup_share"] == 0.05 and "warmup_epochs" in layer
    by_epochs = with_regime([layer, {"warmup_epochs": 10, "epochs": 200}], 720)
    assert (by_epochs.warmup_epochs, by_epochs.warmup_share) == (10, 0.0)
    assert warmup_steps(by_epochs, 7) == 70
    assert with_regime([layer], 720).warmup_share == 0.05
    by_share = with_regime([layer, {"warmup_epochs": 10}, {"warmup_share": 0.1}], 720)
    assert by_share.warmup_share == 0.1


DPC_OWN = {"regime": "paper", "schedule": "constant", "warmup_epochs": 0, "warmup_share": 0.0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"epochs": 3}, DPC_OWN),  # whatever the size
        ({"regime": "paper", "epochs": 100}, DPC_OWN),
        (
            {"regime": "paper", "schedule": "step", "warmup_epochs": 4, "epochs": 100},
            DPC_OWN | {"schedule": "step", "warmup_epochs": 4},
        ),
        ({"regime": "small", "epochs": 100}, {"regime": "small", "schedule": "cosine", "warmup_share": 0.05}),
        ({"regime": "auto", "epochs": 3}, {"regime": "small", "schedule": "cosine", "warmup_share": 0.05}),
        ({"regime": "small", "schedule": "constant"}, {"regime": "small", "schedule": "constant"}),
    ],
)
def test_the_papers_regime_of_dpc_is_its_own(given: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = with_regime([{"method": "dpc"}, given], 720)
    assert {name: getattr(settings, name) for name in expected} == expected
    assert (settings.backbone, settings.clip_length) == ("r2d3d18", 40)


@pytest.mark.parametrize(
    "asked",
    [
        {"epochs": 5},
        {"regime": "paper"},
        {"momentum": 0.5, "batch": 16},
        {"method": "dpc-s2vc"},
        {"method": "dpc-s2vc", "regime": "small"},
    ],
)
def test_saved_settings_mean_the_same_whatever_the_size_of_the_set(asked: dict[str, Any], tmp_path: Path) -> None:
    settings, _ = resolve_settings(with_regime([ALPHA, asked], 720), 720)
    (tmp_path / "settings.yaml").write_text(settings_yaml(settings))
    for videos in (720, 9_537):
        again, _ = resolve_settings(with_regime([read_settings_file(tmp_path / "settings.yaml")], videos), videos)
        assert again == settings


def test_a_queue_is_refused_where_negatives_come_from_the_batch() -> None:
    with pytest.raises(UserError, match="queue 160, but negatives from the batch: add --negatives queue"):
        with_regime([ALPHA, {"queue": "160"}], 720)
    settings = with_regime([ALPHA, {"queue": "160", "negatives": "queue"}], 720)
    assert (settings.queue, settings.momentum) == (160, 0.99)


@pytest.mark.parametrize(
    ("given", "videos", "line"),
    [
        (
            {"batch": 36, "epochs": 30, "regime": "small"},
            720,
            "regime small (720 videos, 600 steps): negatives from the batch, momentum 0.99, cosine",
        ),
        (
            {"epochs": 500},
            9_537,
            "regime paper (9,537 videos, 37,000 steps): negatives from a queue of 2048, momentum 0.999, "
            "steps at 80% and 90%",
        ),
        (
            {"method": "supervised", "alpha": [], "batch": 36, "epochs": 30, "regime": "small"},
            720,
            "regime small (720 videos, 600 steps): cosine",
        ),
        (
            {"method": "dpc", "alpha": [], "batch": 36, "epochs": 30},
            720,
            "regime paper (720 videos, 600 steps): constant",
        ),
    ],
)
def test_one_line_says_the_regime(given: dict[str, Any], videos: int, line: str) -> None:
    settings, _ = resolve_settings(with_regime([ALPHA, given], videos), videos)
    assert describe_regime(settings, videos, automatic=False) == line
    hint = "; --regime paper for the paper's" if settings.regime == "small" else ""
    assert describe_regime(settings, videos, automatic=True) == line + hint


RUN = ["--split", "all", "--batch", 2, "--size", 32, "--clip-length", 8, "--backbone", "s3d", "--loader-workers", 0]


def test_a_run_says_its_regime_saves_it_and_is_gone_on_with(
    cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    command = [cache_path, *RUN, "--alpha", 0.5, "--epochs", 1, "--out", tmp_path / "run"]
    result = train_cli(*command)
    assert result.exit_code == 0, result.output
    line = "regime small (5 videos, 2 steps): negatives from the batch, momentum 0.99, cosine; --regime paper"
    assert line in " ".join(result.output.split())
    assert "only 1 negatives" in result.output
    saved = yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())
    assert (saved["regime"], saved["negatives"], saved["momentum"], saved["queue"]) == ("small", "batch", 0.99, None)
    again = train_cli(*command, "--regime", "small")
    assert again.exit_code == 0 and "2 of 2 steps done" in again.output
    other = train_cli(*command, "--regime", "paper")
    assert other.exit_code == 2 and "negatives is 'batch' there, 'queue' here" in " ".join(other.output.split())


def test_a_run_begun_before_there_were_regimes_is_gone_on_with_as_the_papers(tmp_path: Path) -> None:
    settings, _ = resolve_settings(with_regime([ALPHA, {"regime": "paper", "batch": 8}], 100), 100)
    older = yaml.safe_load(settings_yaml(settings))
    for name in ("regime", "negatives", "schedule", "warmup_share"):
        del older[name]
    folder = RunFolder(tmp_path)
    folder.settings.write_text(yaml.safe_dump(older))
    folder.open(settings)
    with pytest.raises(UserError, match="negatives is 'queue' there, 'batch' here"):
        folder.open(resolve_settings(with_regime([ALPHA, {"batch": 8, "epochs": 5}], 100), 100)[0])


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({}, None),
        ({"method": "moco", "alpha": []}, None),
        ({"negatives": "queue"}, "--negatives batch"),
        ({"regime": "paper"}, "--regime small"),
        ({"accumulate": 2}, "--activation-checkpointing"),
        ({"method": "supervised", "alpha": []}, "--method supervised has none"),
        ({"method": "dpc", "alpha": []}, "--method dpc has none"),
    ],
)
def test_symmetric_goes_with_pairs_and_negatives_from_the_batch(asked: dict[str, Any], refusal: str | None) -> None:
    layers = [ALPHA, {"symmetric": True}, asked]
    if refusal is None:
        assert with_regime(layers, 720).symmetric
    else:
        with pytest.raises(UserError, match=refusal):
            with_regime(layers, 720)

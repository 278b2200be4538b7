"""How trials are evaluated: on validation and test videos, on several splits, on another cache, by shared runs.

Trials run in this process, without Ray; which videos were asked is read from the results and from the manifest.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from s2vc.eval.sweep.cost import evaluation_passes
from s2vc.eval.sweep.plan import SweepFolder, Trial, example_settings, shared_settings
from s2vc.eval.sweep.protocol import (
    Protocol,
    check_evaluated_videos,
    choose_selection,
    evaluated_splits,
    training_splits,
)
from s2vc.eval.sweep.trial import run_trial
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.backbones import build_backbone
from s2vc.training.prepare import prepare_run

SMALL: dict[str, Any] = {"size": 32, "clip_length": 4, "epochs": 1, "batch": 4, "negatives": "batch"}


def rows_of(cache: Path, column: str, part: str) -> set[str]:
    """The videos that the manifest assigns to a part, and that have frames."""
    with (cache.parent / "m.csv").open() as file:
        return {row["video_id"] for row in csv.DictReader(file) if row[column] == part}


def asked(folder: Path, task: str, split: str) -> set[str]:
    """The videos that were the queries of a retrieval, or classified, by the JSON of its result."""
    (path,) = folder.glob(f"{task}-*-{split}-*.json")
    content = json.loads(path.read_text())
    if task == "retrieval":
        return {video for video, _ in content["ranks"]}
    return {entry[0] if isinstance(entry, list) else entry["video_id"] for entry in content["videos"]}


@pytest.fixture(scope="module")
def shared(two_label_cache: Path) -> dict[str, Any]:
    return shared_settings([SMALL, {"split": "all-splits"}], Cache(two_label_cache))


@pytest.fixture(scope="module")
def swept(two_label_cache: Path, shared: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """MoCo, trained and evaluated on both splits of a cache; on the first on validation videos as well."""
    folder = SweepFolder(tmp_path_factory.mktemp("sweep"))
    protocols = Protocol(("retrieval", "order"), "validation", linear_epochs=1), Protocol(("retrieval",))
    splits = training_splits(Cache(two_label_cache), "all-splits", True)
    for split, protocol in zip(splits, protocols, strict=True):
        run_trial(folder, Trial(None, 0, split), shared, protocol, 1)
    return folder


def test_each_split_is_trained_and_tested_on_its_own_videos(two_label_cache: Path, swept: SweepFolder) -> None:
    for task, split in (("retrieval", "split_far"), ("order", "split_far"), ("retrieval", "split_near")):
        assert f"split: {split}\n" in (swept.run(Trial(None, 0, split)) / "settings.yaml").read_text()
        assert asked(swept.results, task, split) == rows_of(two_label_cache, split, "test")
    assert rows_of(two_label_cache, "split_far", "test").isdisjoint(rows_of(two_label_cache, "split_near", "test"))


def test_validation_videos_are_training_videos_that_the_gallery_lacks(
    two_label_cache: Path, swept: SweepFolder
) -> None:
    trained = rows_of(two_label_cache, "split_far", "train")
    validated = asked(swept.validation, "retrieval", "split_far")
    assert validated and validated < trained
    assert asked(swept.validation, "order", "split_far") == validated  # the same for all tasks, seeds and arms
    (path,) = swept.validation.glob("retrieval-*split_far*.json")
    content = json.loads(path.read_text())
    assert content["test_split"] == "validation" and content["gallery_videos"] == len(trained) - len(validated)
    numbers = swept.numbers(Trial(None, 0, "split_far"))
    assert set(numbers) == {"retrieval", "retrieval-validation", "order", "order-validation"}
    assert numbers["retrieval-validation"]["recall@1"] == content["recall@1"]


def test_another_cache_is_evaluated_with_runs_that_are_shared(
    swept: SweepFolder, labelled_cache: Path, shared: dict[str, Any], tmp_path: Path
) -> None:
    trial, other = Trial(None, 0, "split_near"), Cache(labelled_cache)
    splits = evaluated_splits(other, None)
    protocol = Protocol(
        ("retrieval", "finetune"),
        "test",
        other.storage.location,
        splits,
        retrieval_frames=2,
        retrieval_clips=3,
        per="clip",
        linear_epochs=1,
        finetune_epochs=1,
    )
    before = (swept.run(trial) / "metrics.csv").read_bytes()  # It has the speed of each step, which no other has.
    folder = SweepFolder(tmp_path, swept.runs)
    run_trial(folder, trial, shared, protocol, 1)
    assert (swept.run(trial) / "metrics.csv").read_bytes() == before
    for task in ("retrieval", "finetune"):
        assert asked(folder.results, task, "split1") == rows_of(labelled_cache, "split1", "test")
    (path,) = folder.results.glob("retrieval-*.json")
    content = json.loads(path.read_text())
    assert (content["frames"], content["per"]) == (2, "clip")
    assert content["queries"] == 4 * 3
    assert folder.numbers(trial).keys() == {"retrieval", "finetune"}
    assert swept.numbers(trial).keys() == {"retrieval"}, "each sweep keeps its own numbers"


def test_windows_of_an_evaluation_are_counted(two_label_cache: Path, shared: dict[str, Any]) -> None:
    """20 frames in windows of 4, by 2: 9. Of 8 training and 2 or 3 test videos: once each, and 10 crops of tests."""
    cache, settings = Cache(two_label_cache), example_settings(shared)
    tests = len(rows_of(two_label_cache, "split_far", "test"))
    assert evaluation_passes(cache, settings, Protocol(("retrieval",))) == 9 * (8 + tests)
    assert evaluation_passes(cache, settings, Protocol(("retrieval",), retrieval_clips=5)) == 5 * (8 + tests)
    assert evaluation_passes(cache, settings, Protocol(("finetune",), finetune_epochs=5)) == 9 * 10 * tests + 3 * 5 * 8
    assert evaluation_passes(cache, settings, Protocol(("retrieval",), "validation")) == 9 * (8 + tests) + 9 * 8


def test_the_only_part_besides_train_takes_the_place_of_test(two_label_cache: Path, tmp_path: Path) -> None:
    """A split column of Kinetics has `val`, and no `test`."""
    cache = Cache(two_label_cache)
    shutil.copytree(two_label_cache, tmp_path / "kinetics")
    index = pd.read_csv(two_label_cache / "index.csv", dtype=str, keep_default_na=False)
    columns = ["split_far", "split_near"]
    index[columns] = index[columns].replace("test", "val")
    index.to_csv(tmp_path / "kinetics" / "index.csv", index=False)
    kinetics, protocol = Cache(tmp_path / "kinetics"), Protocol(("retrieval",), "validation")
    assert evaluated_splits(kinetics, None) == ("split_far",)
    assert training_splits(kinetics, "all-splits", True) == ("split_far", "split_near")
    settings = example_settings(shared_settings([SMALL, {"split": "split_far"}], cache))
    assert evaluation_passes(kinetics, settings, protocol) == evaluation_passes(cache, settings, protocol)


def test_videos_to_test_on_are_those_that_the_tasks_find(two_label_cache: Path, tmp_path: Path) -> None:
    """As in Something-Something, whose test videos have no labels: what takes labels is tested on `val`."""
    shutil.copytree(two_label_cache, tmp_path / "cache")
    index = pd.read_csv(two_label_cache / "index.csv", dtype=str, keep_default_na=False)
    tests = index.index[index["split_far"] == "test"]
    trains = index.index[index["split_far"] == "train"]
    index.loc[trains[:2], "split_far"] = "val"
    index.loc[tests, "label"] = ""
    index.to_csv(tmp_path / "cache" / "index.csv", index=False)
    cache = Cache(tmp_path / "cache")
    check_evaluated_videos(cache, ("split_far",), ("retrieval", "order"))
    index.loc[trains[:2], "label"] = ""
    index.to_csv(tmp_path / "cache" / "index.csv", index=False)
    cache = Cache(tmp_path / "cache")
    check_evaluated_videos(cache, ("split_far",), ("order",))
    with pytest.raises(UserError, match="have no label"):
        check_evaluated_videos(cache, ("split_far",), ("retrieval", "order"))


def test_the_default_ranks_by_validation_videos_where_there_can_be_any(labelled_cache: Path, tmp_path: Path) -> None:
    cache = Cache(labelled_cache)
    chosen, note = choose_selection(None, ("retrieval",), cache, None)
    assert chosen == "validation" and "of 6 of 6 training videos" in note
    with pytest.raises(UserError, match="no column 'film' of groups"):
        choose_selection(None, ("retrieval",), cache, None, "film")
    chosen, note = choose_selection("test", ("retrieval",), cache, None)
    assert chosen == "test" and "an arm that is chosen by them is chosen on test videos" in note
    assert choose_selection(None, ("finetune",), cache, None)[0] == "test"
    with pytest.raises(UserError, match="learns from all training rows"):
        choose_selection("validation", ("finetune",), cache, None)


def test_other_starting_weights_under_the_same_path_are_refused(labelled_cache: Path, tmp_path: Path) -> None:
    """Whether the run that began from them is done or not, and in the folder of another sweep that shares it."""
    cache, weights, protocol = Cache(labelled_cache), tmp_path / "start.pt", Protocol(("retrieval",))

    def save(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(build_backbone("s3d").state_dict(), weights)

    save(0)
    chosen = SMALL | {"backbone": "s3d", "clip_length": 8, "init": str(weights)}
    settings, folder = shared_settings([chosen], cache), SweepFolder(tmp_path / "sweep")
    folder.open(cache, settings, protocol)
    prepare_run([Trial(None, 0).settings(settings)], folder.run(Trial(None, 0)), torch.device("cpu"))
    another = SweepFolder(tmp_path / "another", folder.runs)
    for checked in (folder, another):
        checked.check(cache, settings, protocol)
    save(1)
    for checked in (folder, another):
        with pytest.raises(UserError, match="moco-seed0 holds a run that began from other weights than --init has now"):
            checked.check(cache, settings, protocol)
    save(0)
    folder.check(cache, settings, protocol)


def test_a_sweep_that_is_evaluated_otherwise_is_refused(
    labelled_cache: Path, tmp_path: Path, shared: dict[str, Any]
) -> None:
    folder, cache = SweepFolder(tmp_path), Cache(labelled_cache)
    folder.open(cache, shared, Protocol(("retrieval",), per="clip"))
    folder.check(cache, shared, Protocol(("retrieval", "linear"), "validation", per="clip"))
    with pytest.raises(UserError, match="per is 'clip' there, None here"):
        folder.check(cache, shared, Protocol(("retrieval",)))

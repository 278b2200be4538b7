"""The commands that train a classifier: linear, order, finetune, static-bias, on real clips."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.redrawn import redrawn_features
from s2vc.eval.view import View
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage.hdf5 import read_array
from s2vc.training.backbones import build_backbone
from tests.eval.conftest import Evaluate

SMALL = ["--backbone", "s3d", "--size", 32, "--frames", 8]


def result(folder: Path, task: str) -> dict[str, Any]:
    (path,) = folder.glob(f"{task}-*.json")
    assert Image.open(path.with_suffix(".png")).size[0] > 200
    return dict(json.loads(path.read_text()))


def test_linear_learns_what_colours_tell(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    arguments = ["linear", labelled_cache, "random", *SMALL, "--epochs", 30, "--train-views", 2, "--out", tmp_path]
    done = evaluate(*arguments)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "linear")
    assert numbers["batch"] == 8
    assert "batch 128 lowered to 8, so that an epoch has some steps: 6 training videos" in done.output
    assert numbers["top1"] == 1.0 and "top5" not in numbers
    assert numbers["per_class"] == {"c0": 1.0, "c1": 1.0}
    assert [v["video_id"] for v in numbers["videos"]] == ["03.mp4", "04.mp4", "13.mp4", "14.mp4"]
    table = pd.read_csv(tmp_path / "results.csv").iloc[0]
    assert (table["task"], table["top1"], table["train_views"], table["frames"]) == ("linear", 1.0, 2, 8)
    kept = {f: f.stat().st_mtime_ns for f in (tmp_path / "features").iterdir()}
    assert len(kept) == 2
    assert evaluate(*arguments, "--epochs", 3).exit_code == 0  # another classifier on the same features
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "features").iterdir()} == kept
    assert len(pd.read_csv(tmp_path / "results.csv")) == 2


def test_order_shows_each_video_both_ways(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    done = evaluate("order", labelled_cache, "random", *SMALL, "--epochs", 3, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "order")
    assert np.sum(numbers["confusion"], axis=1).tolist() == [4, 4]
    assert numbers["classes"] == ["natural", "shuffled"]
    # The natural clips are those of retrieval: their features are not computed again.
    before = {f.name for f in (tmp_path / "features").iterdir()}
    done = evaluate("retrieval", labelled_cache, "random", *SMALL, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)  # the table, paths and progress are on standard error
    saved = json.loads(Path(document.pop("file")).read_text())
    assert document == saved and document["task"] == "retrieval" and "R@1" in done.stderr
    assert {f.name for f in (tmp_path / "features").iterdir()} == before


def test_finetune_trains_all_layers_and_goes_on(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    arguments = ["finetune", labelled_cache, "random", *SMALL, "--epochs", 8, "--batch", 3, "--out", tmp_path]
    done = evaluate(*arguments)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "finetune")
    assert sum(map(sum, numbers["confusion"])) == 4
    (run,) = (tmp_path / "runs").iterdir()
    settings = (run / "settings.yaml").read_text()
    assert "dropout: 0.9" in settings and "still: false" in settings and "augment: light" in settings
    assert "backbone_lr: 1.0" in settings  # random weights learn at the full rate
    assert "regime: paper" in settings and "schedule: step" in settings  # whatever the size of the set
    again = evaluate(*arguments)
    assert again.exit_code == 0 and "16 of 16 steps" in again.output
    assert result(tmp_path, "finetune")["videos"] == numbers["videos"]
    # Its classifier is there for class activation maps, which want more than one cell.
    larger = ["--size", 64, "--frames", 8, "--videos", 2, "--out", tmp_path / "saliency"]
    seen = evaluate("saliency", labelled_cache, run, *larger, "--cam", "finetune")
    assert seen.exit_code == 0, seen.output
    assert "cam_correlation" in result(tmp_path / "saliency", "saliency")
    # What was fine-tuned is a checkpoint like others, and can be started from.
    further = ["finetune", labelled_cache, run, *SMALL, "--epochs", 1, "--out", tmp_path / "onward"]
    onward = evaluate(*further, "--activation-checkpointing")
    assert onward.exit_code == 0, onward.output
    (run,) = (tmp_path / "onward" / "runs").iterdir()
    assert "backbone_lr: 0.1" in (run / "settings.yaml").read_text()
    trained = torch.load(run / "checkpoint.pt", weights_only=True)
    assert "activation_checkpointing: true" in trained["settings"]
    assert evaluate(*further).exit_code == 0  # the same run, which is done: memory is no part of its name
    assert [path.name for path in (tmp_path / "onward" / "runs").iterdir()] == [run.name]


def test_linear_draws_views_anew_and_selects_on_validation_videos(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    how = ["--train-views", 0, "--select", "validation", "--epochs", 12, "--out", tmp_path]
    done = evaluate("linear", labelled_cache, "random", *SMALL, *how)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "linear")
    assert numbers["train_views"] == "drawn anew at every step" and numbers["select"] == "validation"
    assert numbers["train_videos"] == 4 and 1 <= numbers["selected_epoch"] <= 12
    assert f"epoch {numbers['selected_epoch']} is tested, which recognised most of the validation videos" in done.output
    assert numbers["top1"] >= 0.5
    kept = {tuple(read_array(f, "offsets")[-1:]) for f in (tmp_path / "features").iterdir()}
    assert kept == {(2 * 4,), (4 * 4,)}, "of validation and test videos; none of what is drawn anew"


def test_redrawn_features_are_new_in_every_epoch_and_the_same_again(labelled_cache: Path) -> None:
    backbone = load_evaluated_backbone("random", "s3d").backbone.eval()
    view = View(32, 8, crops="augmented")
    rows, targets = np.arange(3), np.array([0, 1, 2])
    draw = redrawn_features(Cache(labelled_cache), rows, targets, backbone, view, 128, torch.device("cpu"), workers=0)
    (one,), (again,), (other,) = list(draw(0)), list(draw(0)), list(draw(1))
    assert one[0].shape == (3, 1024) and sorted(one[1].tolist()) == [0, 1, 2]
    assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1])
    by_video = [epoch[0][epoch[1].argsort()] for epoch in (one, other)]
    assert (by_video[0] != by_video[1]).any(dim=1).all()


def test_finetune_tests_the_epoch_that_is_best_on_validation_videos(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    how = ["--select", "validation", "--epochs", 3, "--batch", 2, "--out", tmp_path]
    done = evaluate("finetune", labelled_cache, "random", *SMALL, *how)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "finetune")
    (run,) = (tmp_path / "runs").iterdir()
    kept = torch.load(run / "best.pt", weights_only=True)
    assert numbers["selected_epoch"] == kept["epoch"] and 0 <= kept["share"] <= 1
    told = f"epoch {kept['epoch']} is tested, which recognised most of the validation videos: {kept['share']:.1%}"
    assert [told, str(run / "best.pt")] == done.output.splitlines()[
        (at := done.output.splitlines().index(told)) : at + 2
    ]
    assert numbers["train_videos"] == 4 and "6 of 6 steps" in done.output  # of 4 videos, 2 a step
    assert "of 6 of 6 training videos: each counts as a recording by itself" in " ".join(done.output.split())
    refused = evaluate("finetune", labelled_cache, "random", *SMALL, *how[2:], "--group", "class_name")
    assert refused.exit_code == 2 and "--group belongs to --select validation" in refused.output
    # Done before, it trains nothing, and finds the same epoch.
    assert evaluate("finetune", labelled_cache, "random", *SMALL, *how).exit_code == 0
    assert result(tmp_path, "finetune") == numbers


@pytest.mark.slow
def test_other_weights_or_labels_under_the_same_path_are_trained_anew(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    cache, weights, out = tmp_path / "cache", tmp_path / "weights.pt", tmp_path / "out"
    shutil.copytree(labelled_cache, cache)
    arguments = ["finetune", cache, weights, *SMALL, "--epochs", 1, "--batch", 3, "--out", out]

    def runs_and_results(seed: int) -> tuple[int, int]:
        torch.manual_seed(seed)
        torch.save(build_backbone("s3d").state_dict(), weights)
        done = evaluate(*arguments)
        assert done.exit_code == 0, done.output
        return len(list((out / "runs").iterdir())), len(pd.read_csv(out / "results.csv"))

    assert runs_and_results(0) == (1, 1)
    assert runs_and_results(1) == (2, 2)  # these were the weights' first numbers once more
    assert runs_and_results(0) == (2, 2)  # these are known
    hashes = pd.read_csv(out / "results.csv")["weights"]
    assert hashes.nunique() == 2 and hashes.str.fullmatch("[0-9a-f]{16}").all()
    index = cache / "index.csv"
    index.write_text(index.read_text().replace("02.mp4,0,c0", "02.mp4,1,c1"))
    assert runs_and_results(0) == (3, 2)  # the same result, of another classifier


def test_static_bias_sets_gains_against_still_clips(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    few = ["--still-epochs", 2, "--batch", 3, "--epochs", 3, "--train-views", 1]
    done = evaluate("static-bias", labelled_cache, "random", "--moco", "random", *SMALL, *few, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.output.count("no correlation: it wants 20 classes") == 3  # of both gains over stills, and over MoCo
    numbers = result(tmp_path, "static-bias")
    assert [c["class"] for c in numbers["classes"]] == ["c0", "c1"]
    for row in numbers["classes"]:
        assert row["gain_over_moco"] == 0.0  # over itself
        assert row["moco_accuracy"] == row["accuracy"] and row["moco_relative_gain"] == row["relative_gain"]
        if row["still"]:
            assert row["relative_gain"] == pytest.approx((row["accuracy"] - row["still"]) / row["still"])
    (run,) = (tmp_path / "runs").iterdir()
    assert "still: true" in (run / "settings.yaml").read_text()
    assert "dropout: 0.9" in (run / "settings.yaml").read_text()  # as the published code trains all layers


@pytest.mark.parametrize("task", ["linear", "order", "finetune", "static-bias"])
def test_mistakes_are_reported_in_one_line(evaluate: Evaluate, task: str, labelled_cache: Path, tmp_path: Path) -> None:
    without = tmp_path / "without"
    shutil.copytree(labelled_cache, without)
    index = pd.read_csv(without / "index.csv", dtype=str)
    index.assign(split1="train").to_csv(without / "index.csv", index=False)
    cases = [(without, [], "no test videos"), (labelled_cache, ["--split", "other"], "no split 'other'")]
    if task != "order":
        one = tmp_path / "one"
        shutil.copytree(labelled_cache, one)
        index.assign(label="0").to_csv(one / "index.csv", index=False)
        unlabelled = tmp_path / "unlabelled"
        shutil.copytree(labelled_cache, unlabelled)
        index.assign(label="").to_csv(unlabelled / "index.csv", index=False)
        cases += [(one, [], "of one class"), (unlabelled, [], "have no label")]
    for cache, options, message in cases:
        done = evaluate(task, cache, "random", *SMALL, *options, "--out", tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert message in done.output and done.output.count("s2vc-eval: ") == 1


def test_paths_are_looked_at_before_anything_is_computed(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    out, text = tmp_path / "out", tmp_path / "text"
    text.write_text("no checkpoint")
    for moco, message in ((tmp_path / "nosuch", "nosuch"), (text, "no checkpoint of plain tensors")):
        done = evaluate("static-bias", labelled_cache, "random", "--moco", moco, *SMALL, "--out", out)
        assert done.exit_code == 2 and message in done.output and not out.exists()
    done = evaluate("retrieval", labelled_cache, "random", "--gallery", tmp_path / "nosuch", *SMALL, "--out", out)
    assert done.exit_code == 2 and "nosuch" in done.output and not out.exists()


ON_CHECKPOINTS = ("retrieval", "linear", "finetune", "order", "static-bias", "saliency")
ON_DATA = ("similarity", "normality", "motion")


@pytest.mark.parametrize("task", [*ON_CHECKPOINTS, *ON_DATA])
def test_a_folder_that_takes_no_results_is_refused_at_once(
    evaluate: Evaluate, task: str, labelled_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "results.csv").write_text("no,table\n")
    arguments = [task, labelled_cache, *(["random", *SMALL] if task in ON_CHECKPOINTS else [])]
    for out, message in (
        (tmp_path / "file" / "out", "cannot be written into"),
        (damaged, "results.csv is damaged"),
    ):
        done = evaluate(*arguments, "--out", out)
        assert done.exit_code == 2, done.output
        assert message in done.output and done.output.count("s2vc-eval: ") == 1
    assert [path.name for path in damaged.iterdir()] == ["results.csv"]  # no features, no run, no other remains

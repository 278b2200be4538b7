"""`--label`: other columns of the manifest as classes, in every task that has labels, and said in what it leaves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.labels import label_columns, read_labels
from tests.eval.conftest import Evaluate
from tests.support.clips import write_clip

SMALL = ["--backbone", "s3d", "--size", 32, "--frames", 8]
COLOUR = ["--label", "colour", "--split", "split_near"]


def result(folder: Path, task: str) -> dict[str, Any]:
    (path,) = folder.glob(f"{task}-*.json")
    return dict(json.loads(path.read_text()))


def test_names_are_numbered_in_their_order_over_the_whole_cache(two_label_cache: Path) -> None:
    cache = Cache(two_label_cache)
    assert label_columns(cache) == ["label", "class_name", "colour"]  # not frames, which is the cache's own
    colours = read_labels(cache, "colour")
    assert colours.numbers.tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, -1]
    assert colours.names.tolist()[:3] == ["red", "red", "blue"] and colours.names[12] == ""
    usual = read_labels(cache)
    assert usual.numbers.tolist() == [int(n % 3 == 0) for n in range(13)]
    assert usual.names.tolist() == ["some" if n % 3 else "third" for n in range(13)]
    assert read_labels(cache, "class_name").numbers.tolist() == usual.numbers.tolist()
    with pytest.raises(UserError, match="no column 'frames' of labels; it has label, class_name, colour"):
        read_labels(cache, "frames")


def test_a_class_without_a_name_is_called_by_its_number(cache_path: Path, tmp_path: Path) -> None:
    shutil.copytree(cache_path, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",1,slide,", ",1,,").replace(",0,orbit,train", ",,,train"))
    found = read_labels(Cache(tmp_path / "cache"))
    assert set(found.names[found.numbers == 1]) == {"1"} and set(found.names[found.numbers < 0]) == {""}
    assert (found.numbers < 0).sum() == 3


def test_retrieval_by_another_column_says_so(evaluate: Evaluate, two_label_cache: Path, tmp_path: Path) -> None:
    done = evaluate("retrieval", two_label_cache, "random", *SMALL, *COLOUR, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "retrieval")
    assert numbers["recall@1"] == 1.0  # colours alone tell them apart, under any weights
    assert (numbers["label"], numbers["split"], numbers["queries"]) == ("colour", "split_near", 2)
    assert evaluate("retrieval", two_label_cache, "random", *SMALL, "--out", tmp_path).exit_code == 0
    usual = next(n for p in tmp_path.glob("*.json") if "label" not in (n := json.loads(p.read_text())))
    assert (usual["split"], usual["queries"]) == ("split_far", 3)
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["label"].fillna("").tolist() == ["colour", ""]


def test_linear_and_static_bias_learn_another_column(evaluate: Evaluate, two_label_cache: Path, tmp_path: Path) -> None:
    how = ["--epochs", 30, "--train-views", 2, "--out", tmp_path]
    done = evaluate("linear", two_label_cache, "random", *SMALL, *COLOUR, *how)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "linear")
    assert numbers["top1"] == 1.0 and numbers["classes"] == ["blue", "red"] and numbers["label"] == "colour"
    done = evaluate("static-bias", two_label_cache, "random", *SMALL, *COLOUR, *how, "--still-epochs", 1, "--batch", 4)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "static-bias")
    assert [c["class"] for c in numbers["classes"]] == ["blue", "red"] and numbers["label"] == "colour"
    (run,) = (tmp_path / "runs").iterdir()
    assert "\nlabel: colour\n" in (run / "settings.yaml").read_text()


def test_finetune_trains_on_the_column_it_is_tested_by(
    evaluate: Evaluate, two_label_cache: Path, tmp_path: Path
) -> None:
    how = ["--epochs", 2, "--batch", 4, "--out", tmp_path]
    assert evaluate("finetune", two_label_cache, "random", *SMALL, *COLOUR, *how).exit_code == 0
    numbers = result(tmp_path, "finetune")
    assert numbers["classes"] == ["blue", "red"] and numbers["label"] == "colour"
    assert np.sum(numbers["confusion"], axis=1).tolist() == [1, 1]
    # With the usual labels the run is another one, and its name has nothing of the option.
    assert evaluate("finetune", two_label_cache, "random", *SMALL, *how).exit_code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_similarity_and_motion_go_by_the_column(evaluate: Evaluate, two_label_cache: Path, tmp_path: Path) -> None:
    shutil.copytree(two_label_cache, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",train,train,red", ",train,train,green"))
    how = ["--label", "colour", "--out", tmp_path]
    done = evaluate("similarity", tmp_path / "cache", *how, "--pairs", 4)
    assert done.exit_code == 2 and "1 of 13 videos have no colour, first 12.mp4" in done.output
    done = evaluate("motion", tmp_path / "cache", *how, "--every", 10)
    assert done.exit_code == 0, done.output
    numbers = result(tmp_path, "motion")
    assert numbers["label"] == "colour" and set(numbers["per_class"]) >= {"blue", "green", "red"}
    index.write_text(index.read_text().replace(",test,,,", ",test,,blue,"))
    assert evaluate("similarity", tmp_path / "cache", *how, "--pairs", 4).exit_code == 0
    numbers = result(tmp_path, "similarity")
    assert set(numbers["per_class"]["intra-class"]) == {"blue", "green", "red"} and numbers["label"] == "colour"


def test_names_of_two_caches_are_compared_not_their_numbers(
    evaluate: Evaluate, two_label_cache: Path, cli: Callable[..., Result], tmp_path: Path
) -> None:
    rows = ["video_id,split1,colour"]
    colours = {"red": (220, 40, 40), "blue": (40, 40, 220), "amber": (220, 220, 40)}
    for number, (name, colour) in enumerate(colours.items()):
        frames = np.array(colour) + np.random.default_rng(number).integers(-30, 30, (20, 64, 80, 3))
        write_clip(tmp_path / "videos" / f"{name}.mp4", np.clip(frames, 0, 255).astype(np.uint8))
        rows.append(f"{name}.mp4,train,{name}")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    gallery = tmp_path / "gallery"
    made = cli("encode", tmp_path / "m.csv", "--root", tmp_path / "videos", "--out", gallery, "--size", "64x80")
    assert made.exit_code == 0, made.output
    # Here blue is 1 and red is 2, among the queries 0 and 1.
    assert read_labels(Cache(gallery), "colour").numbers.tolist() == [2, 1, 0]
    arguments = [two_label_cache, "random", *SMALL, *COLOUR, "--gallery", gallery, "--out", tmp_path / "out"]
    assert evaluate("retrieval", *arguments).exit_code == 0
    ranks = dict(result(tmp_path / "out", "retrieval")["ranks"])
    # Each finds its colour; by number, blue would be looked for under amber's.
    assert set(ranks) == {"09.mp4", "11.mp4"} and set(ranks.values()) == {0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "colour"], "1 test videos have no colour, first 12.mp4"),
        (["--label", "mood"], "no column 'mood' of labels; it has label, class_name, colour"),
        (["--label", "status"], "no column 'status' of labels"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    evaluate: Evaluate, arguments: list[str], message: str, two_label_cache: Path, tmp_path: Path
) -> None:
    done = evaluate("retrieval", two_label_cache, "random", *SMALL, *arguments, "--out", tmp_path)
    assert done.exit_code == 2, done.output
    assert message in done.output and done.output.count("s2vc-eval: ") == 1

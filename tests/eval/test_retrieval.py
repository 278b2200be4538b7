"""Recall@k against a plain count, with ties and absent classes; the command on real clips."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from s2vc.eval import retrieval, tasks
from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.features import Features
from s2vc.eval.labelled import find_test_part
from s2vc.eval.retrieval import recall_at_k
from s2vc.eval.view import View, WindowCrops
from s2vc.pipeline.cache import Cache
from tests.eval.conftest import Evaluate


def plain_recall(q: np.ndarray, ql: np.ndarray, g: np.ndarray, gl: np.ndarray, k: int) -> float:
    """The reference: sort the whole gallery of each query, equal ones in their order."""
    hits = 0
    for feature, label in zip(q, ql, strict=True):
        similarity = g @ feature / (np.linalg.norm(g, axis=1) * np.linalg.norm(feature))
        nearest = np.argsort(-similarity, kind="stable")[:k]
        hits += label in gl[nearest]
    return hits / len(q)


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_that_of_a_plain_sort(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "CHUNK_VALUES", 200)  # several chunks, the last one smaller
    rng = np.random.default_rng(seed)
    q, g = rng.standard_normal((37, 6)), rng.standard_normal((50, 6))
    ql, gl = rng.integers(0, 9, 37), rng.integers(0, 7, 50)  # classes 7 and 8 are absent from the gallery
    ks = [1, 2, 5, 20, 50]
    expected = {k: plain_recall(q, ql, g, gl, k) for k in ks}
    assert recall_at_k(q, ql, g, gl, ks) == pytest.approx(expected)
    assert expected[50] < 1


def test_of_equally_similar_ones_the_earlier_is_nearer() -> None:
    gallery = np.array([[1.0, 0], [2, 0], [0, 1], [4, 0]])  # 0, 1 and 3 point the same way
    query = np.array([[1.0, 0]])
    assert recall_at_k(query, [7], gallery, [1, 7, 7, 7], [1, 2]) == {1: 0.0, 2: 1.0}
    assert recall_at_k(query, [7], gallery, [7, 1, 1, 1], [1]) == {1: 1.0}
    assert recall_at_k(query, [7], gallery, [1, 1, 7, 1], [3, 4]) == {3: 0.0, 4: 1.0}


def test_a_class_that_is_not_in_the_gallery_is_never_found() -> None:
    features = np.eye(3)
    assert recall_at_k(features, [0, 1, 9], features, [0, 1, 2], [1, 3]) == pytest.approx({1: 2 / 3, 3: 2 / 3})


def test_features_of_length_zero_are_like_nothing() -> None:
    found = recall_at_k(torch.zeros(1, 4), [1], torch.eye(4), [1, 2, 3, 4], [1])
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize(
    ("query", "labels", "ks", "message"),
    [
        (np.zeros((2, 3)), [0, 1], [1], "do not fit"),
        (np.zeros((2, 4)), [0], [1], "do not fit"),
        (np.zeros((0, 4)), [], [1], "no queries"),
        (np.ones((2, 4)), [0, 1], [5], "k is 1 to 4"),
        (np.ones((2, 4)), [0, 1], [0], "k is 1 to 4"),
        (np.ones(4), [0], [1], "features are"),
    ],
)
def test_what_makes_no_sense_is_refused(query: np.ndarray, labels: list[int], ks: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recall_at_k(query, labels, np.eye(4), [0, 1, 2, 3], ks)


@pytest.mark.parametrize("classes", [1, 3, 20])
def test_chance_is_what_a_nearest_drawn_at_random_finds(classes: int) -> None:
    rng = np.random.default_rng(classes)
    query, gallery = rng.integers(0, classes, 30), rng.integers(0, classes, 17) // 2  # some queries' class is missing
    hits = [bool(q == g) for q in query for g in gallery]
    assert tasks.chance_of_recall(query, gallery) == pytest.approx(sum(hits) / len(hits))


SMALL = ["--size", 32, "--frames", 8]


def test_the_command_retrieves_by_features_and_keeps_them(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    arguments = ["retrieval", labelled_cache, "random", *SMALL, "--out", tmp_path]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.output
    numbers = json.loads(next(tmp_path.glob("retrieval-*.json")).read_text())
    # Colours alone tell the classes apart, under any weights.
    assert numbers["recall@1"] == 1.0
    assert (numbers["queries"], numbers["gallery_videos"], numbers["stored"]) == (4, 6, "64x80")
    assert {k for k in numbers if "recall" in k} == {"recall@1", "recall@5"}
    assert "4 queries among 6 gallery videos; chance for R@1 50.0%" in result.output.splitlines()
    features = list((tmp_path / "features").iterdir())
    assert len(features) == 2  # of queries, and of the gallery
    before = [f.stat().st_mtime_ns for f in features]
    assert evaluate(*arguments).exit_code == 0
    assert [f.stat().st_mtime_ns for f in features] == before
    assert len(pd.read_csv(tmp_path / "results.csv")) == 1  # the same row, not another
    assert evaluate(*arguments, "--seed", 1).exit_code == 0
    assert len(list((tmp_path / "features").iterdir())) == 4  # other weights are never served old features
    assert len(pd.read_csv(tmp_path / "results.csv")) == 2


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_so_and_has_another_code_than_a_mistake(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    def stopped(*arguments: object) -> torch.Tensor:
        os.kill(os.getpid(), sign)
        return torch.zeros(4)

    monkeypatch.setattr(tasks, "hit_ranks", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    try:
        result = evaluate("retrieval", labelled_cache, "random", *SMALL, "--out", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130, result.output
    assert "Stopped. What is finished is kept: run the same command again to go on." in result.output
    assert list((tmp_path / "features").glob("*.h5")), "the features are not computed again"


def test_clips_can_be_queries(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    result = evaluate("retrieval", labelled_cache, "random", *SMALL, "--per", "clip", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    numbers = json.loads(next(tmp_path.glob("retrieval-*.json")).read_text())
    assert numbers["queries"] == 4 * 4  # 20 frames: windows at 0, 4, 8 and 12


def test_of_still_clips_the_middle_frame_alone_is_seen(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    done = evaluate("retrieval", labelled_cache, "random", *SMALL, "--order", "still", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert json.loads(next(tmp_path.glob("retrieval-*.json")).read_text())["frame_order"] == "still"
    cache, backbone = Cache(labelled_cache), load_evaluated_backbone("random").backbone.eval()
    stored = [Features(path) for path in sorted((tmp_path / "features").glob("*.h5"))]
    for row in np.flatnonzero(cache.index["split1"].isin(["train", "test"]) & (cache.index["frames"] > 0)):
        windows = next(found for features in stored if len(found := features.windows_of(int(row))))[:, 0]
        frames = torch.from_numpy(cache.frames(cache.index["video_id"][row]))
        middle = frames[4 : 4 + 4 * len(windows) : 4]  # 8 frames by half their length: 0 to 7, 4 to 11, …
        clips = WindowCrops(View(32, 8))(middle[:, None].expand(-1, 8, -1, -1, -1), 0, 0)
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(windows), backbone(clips).mean(dim=(2, 3, 4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.pt"], "nothing.pt"),
        (["random", "--split", "split9"], "no split 'split9'"),
        (["random", "--test-split", "train"], "these videos are learned from"),
        (["random", "--std", "0.2", "0.2", "0"], "--std three above 0"),
        (["random", "--backbone", "s3d", "--frames", "4"], "windows for s3d have 5 frames or more, not 4"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    evaluate: Evaluate, arguments: list[str], message: str, labelled_cache: Path, tmp_path: Path
) -> None:
    result = evaluate("retrieval", labelled_cache, arguments[0], *SMALL, *arguments[1:], "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert message in result.output and result.output.count("s2vc-eval: ") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mean", "0.5", "--std", "0.5"], "three numbers, R G B, such as 0.5 0.5 0.5, and '--std' is none"),
        (["--split", "all-splits"], "'--split': only s2vc-sweep takes all-splits"),
    ],
)
def test_values_that_another_command_would_take_are_refused(
    evaluate: Evaluate, arguments: list[str], message: str, labelled_cache: Path, tmp_path: Path
) -> None:
    result = evaluate("retrieval", labelled_cache, "random", *arguments, "--out", tmp_path)
    assert result.exit_code == 2 and message in result.output


def test_a_damaged_shard_is_reported_in_one_line(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled_cache, tmp_path / "cache")
    for path in (tmp_path / "cache" / "frames").glob("*.h5"):
        content = bytearray(path.read_bytes())
        for at in range(len(content) // 4, len(content) * 3 // 4, 50):
            content[at] ^= 255
        path.write_bytes(content)
    result = evaluate("retrieval", tmp_path / "cache", "random", *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    (error_line,) = [line for line in result.output.splitlines() if line.startswith("s2vc-eval: ")]
    assert "s2vc-prep verify" in error_line and "Traceback" not in error_line
    assert not list((tmp_path / "out").glob("features/*"))


def test_a_damaged_table_is_reported_and_left_as_it_is(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "results.csv").write_text("task,recall\n1,2\n")
    result = evaluate("retrieval", labelled_cache, "random", *SMALL, "--out", tmp_path)
    assert result.exit_code == 2 and "results.csv is damaged: it has no column 'result'" in result.output
    assert (tmp_path / "results.csv").read_text() == "task,recall\n1,2\n"


def test_a_place_that_cannot_be_written_to_is_reported_in_one_line(evaluate: Evaluate, labelled_cache: Path) -> None:
    result = evaluate("retrieval", labelled_cache, "random", *SMALL, "--out", "/sys/results")
    assert result.exit_code == 2 and result.output.count("s2vc-eval: ") == 1, result.output
    assert "/sys/results" in result.output


def test_a_cache_without_labels_is_reported(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled_cache, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace("mp4,1,", "mp4,,"))
    result = evaluate("retrieval", tmp_path / "cache", "random", *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "have no label, first 13.mp4" in result.output
    index.write_text(index.read_text().replace("mp4,,", "mp4,0,"))
    result = evaluate("retrieval", tmp_path / "cache", "random", *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "of one class" in result.output


@pytest.mark.parametrize(
    ("renamed", "unseen"),
    [({"0": "5", "1": "6"}, ("2 of 2", "100.0%")), ({"0": "5"}, ("1 of 2", "50.0%")), ({}, None)],
)
def test_classes_that_nobody_can_recognise_are_told(
    renamed: dict[str, str],
    unseen: tuple[str, str] | None,
    evaluate: Evaluate,
    labelled_cache: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(labelled_cache, tmp_path / "cache")
    index = pd.read_csv(tmp_path / "cache" / "index.csv", dtype=str, keep_default_na=False)
    (split,) = [name for name in index if name.startswith("split")][:1]
    tested = index[split] == "test"
    index.loc[tested, "label"] = index.loc[tested, "label"].replace(renamed)
    index.loc[tested, "class_name"] = index.loc[tested, "label"]
    index.to_csv(tmp_path / "cache" / "index.csv", index=False)
    result = evaluate("retrieval", tmp_path / "cache", "random", *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    printed = " ".join(result.output.split())
    assert ("warning: " in printed) == (unseen is not None)
    if unseen:
        classes, share = unseen
        line = f"warning: {classes} classes of the test videos, with {share} of these, have no training video"
        assert line in printed
    (path,) = (tmp_path / "out").glob("retrieval-*.json")
    told = float(unseen[1].rstrip("%")) / 100 if unseen else 0.0
    assert json.loads(path.read_text())["unseen_share"] == told
    assert pd.read_csv(tmp_path / "out" / "results.csv")["unseen_share"].tolist() == [told]


def copied(cache: Path, folder: Path, change: dict[str, dict[str, str]]) -> Path:
    """A copy of a cache in whose index some columns have other values."""
    shutil.copytree(cache, folder)
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    for column, values in change.items():
        index[column] = index[column].replace(values)
    index.to_csv(folder / "index.csv", index=False)
    return folder


def test_classes_of_two_caches_are_matched_by_name(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    # The gallery numbers the same two classes the other way round.
    turned = copied(labelled_cache, tmp_path / "turned", {"label": {"0": "1", "1": "0"}})
    arguments = ["retrieval", labelled_cache, "random", *SMALL, "--out", tmp_path / "out"]
    assert evaluate(*arguments, "--gallery", turned).exit_code == 0
    (path,) = (tmp_path / "out").glob("retrieval-*.json")
    ranks = dict(json.loads(path.read_text())["ranks"])
    assert set(ranks.values()) == {0}, "each finds its colour; by number it would be the other one"
    nameless = copied(labelled_cache, tmp_path / "nameless", {"class_name": {"c1": ""}})
    refused = evaluate(*arguments, "--gallery", nameless)
    assert refused.exit_code == 2 and "3 train videos" in refused.output and "without name" in refused.output
    others = copied(labelled_cache, tmp_path / "others", {"class_name": {"c0": "run", "c1": "walk"}})
    refused = evaluate(*arguments, "--gallery", others)
    assert refused.exit_code == 2 and "(c0, c1, …) is in the gallery (run, walk, …)" in refused.output


def with_columns(cache: Path, folder: Path, columns: dict[str, dict[str, str]], without: str = "") -> Path:
    """A copy of a cache with more columns, each by the parts that a column has, turned."""
    shutil.copytree(cache, folder)
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    for column, turned in columns.items():
        index[column] = index["split1"].replace(turned)
    index.drop(columns=[without] if without else []).to_csv(folder / "index.csv", index=False)
    return folder


def test_the_gallery_is_of_the_split_that_is_tested(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    turned = {"split2": {"train": "test", "test": "train"}}
    cache = with_columns(labelled_cache, tmp_path / "cache", turned)
    how = ["retrieval", cache, "random", *SMALL, "--out", tmp_path / "out", "--split", "split2"]
    both = with_columns(labelled_cache, tmp_path / "both", turned)
    result = evaluate(*how, "--gallery", both)
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "out").glob("retrieval-*.json")
    said = json.loads(path.read_text())
    # Those that split1 tests: four of the ten videos, and none of the six that are tested.
    assert (said["split"], said["gallery_split"], said["gallery_videos"], said["queries"]) == ("split2", "split2", 4, 6)
    refused = evaluate(*how, "--gallery", labelled_cache)
    assert refused.exit_code == 2, refused.output
    assert "the gallery has no column split2: its training videos by column split1 are taken" in refused.output
    assert "6 of the 6 test videos by column split2 are training videos of" in refused.output


def test_a_gallery_without_the_tested_column_is_taken_by_its_own(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    other = with_columns(labelled_cache, tmp_path / "other", {"split_own": {}}, without="split1")
    how = ["retrieval", labelled_cache, "random", *SMALL, "--out", tmp_path / "out"]
    result = evaluate(*how, "--gallery", other)
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "out").glob("retrieval-*.json")
    assert json.loads(path.read_text())["gallery_split"] == "split_own"


def test_the_only_part_besides_training_is_tested(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    kinetics = copied(labelled_cache, tmp_path / "kinetics", {"split1": {"test": "val"}})
    how = [*SMALL, "--out", tmp_path / "out"]
    result = evaluate("retrieval", kinetics, "random", *how)
    assert result.exit_code == 0 and "column split1 has no test videos: its val videos are tested" in result.output
    (path,) = (tmp_path / "out").glob("retrieval-*.json")
    numbers = json.loads(path.read_text())
    assert (numbers["test_split"], numbers["queries"]) == ("val", 4)
    again = evaluate("retrieval", kinetics, "random", *how, "--test-split", "val")
    assert again.exit_code == 0 and "are tested" not in again.output
    assert len(pd.read_csv(tmp_path / "out" / "results.csv")) == 1
    refused = evaluate("retrieval", kinetics, "random", *how, "--test-split", "test")
    assert refused.exit_code == 2 and "no test videos with frames in column split1: it has" in refused.output
    assert "6 train, 4 val" in refused.output


def test_parts_without_classes_are_no_candidates(labelled_cache: Path, tmp_path: Path) -> None:
    copied(labelled_cache, tmp_path / "kinetics", {"split1": {"test": "val"}})
    index = tmp_path / "kinetics" / "index.csv"
    index.write_text(index.read_text().replace("02.mp4,0,c0,train", "02.mp4,,,test"))  # Kinetics' test videos
    cache = Cache(tmp_path / "kinetics")
    assert find_test_part(cache, None, "label") == "val"
    assert find_test_part(cache, None) == "test" and find_test_part(Cache(labelled_cache), None, "label") == "test"

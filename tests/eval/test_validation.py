"""Validation videos: whole recordings of every class, the same whatever the order."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s2vc.eval.labelled import labelled_rows
from s2vc.eval.validation import cut_validation, recording_of, unknown_recordings_note, validation_flags
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache


@pytest.mark.parametrize(
    ("video_id", "recording"),
    [
        ("Archery/v_Archery_g08_c03.avi", "v_Archery_g08"),
        ("hug/50_FIRST_DATES_hug_u_cm_np2_ba_med_13.avi", "50_FIRST_DATES_hug"),
        ("kick/BSS_-_Part_1_kick_f_nm_np10_le_bad_0.mp4", "BSS_-_Part_1_kick"),
        ("train/abseiling/-0YFHE_4Ab1_000010_000020.mp4", "-0YFHE_4Ab1"),
        ("-0YFHE_4Ab1_000010_000020", "-0YFHE_4Ab1"),
        ("a/v_g01.avi", None),
        ("Archery/renamed_0001.avi", None),
    ],
)
def test_a_recording_is_told_by_the_names_of_the_datasets(video_id: str, recording: str | None) -> None:
    assert recording_of(video_id) == recording


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51"])
def test_the_datasets_own_lists_are_cut_by_whole_recordings(dataset: str, shared: Path) -> None:
    lines = (shared / "reference" / "lists" / dataset / "train_split1.txt").read_text().splitlines()
    ids = [line.rsplit(" ", 2)[0] for line in lines]
    classes = [video.split("/")[0] for video in ids]
    named = [recording_of(video) or video for video in ids]
    flags = validation_flags(named, classes)
    # The recording by other means than a pattern: it is followed by six fields in HMDB51, by one in UCF101.
    groups = [i.rsplit("_", 1)[0] if dataset == "ucf101" else i.rsplit("_", 6)[0] for i in ids]
    held_out = {group for group, flag in zip(groups, flags, strict=True) if flag}
    assert held_out.isdisjoint(group for group, flag in zip(groups, flags, strict=True) if not flag)
    for name in set(classes):
        of_class = {group for group, c in zip(groups, classes, strict=True) if c == name}
        assert len(of_class & held_out) == max(1, round(0.2 * len(of_class)))
    turned = validation_flags(named[::-1], classes[::-1])
    assert np.array_equal(turned[::-1], flags) and not np.array_equal(validation_flags(named, classes, 1), flags)


def test_small_classes_give_one_recording_and_keep_one() -> None:
    flags = validation_flags(["a1", "a2", "b1", "c1", "c2", "c3"], [0, 0, 1, 2, 2, 2])
    assert flags[:2].sum() == 1 and not flags[2] and flags[3:].sum() == 1


def test_a_recording_of_several_classes_goes_as_a_whole() -> None:
    """A class gives a fifth of what it shows, and all of one recording lies on one side."""
    rng = np.random.default_rng(0)
    recordings = [f"film{rng.integers(12)}" for _ in range(200)]
    classes = [int(rng.integers(4)) for _ in range(200)]
    flags = validation_flags(recordings, classes)
    held_out = {r for r, flag in zip(recordings, flags, strict=True) if flag}
    assert held_out and held_out.isdisjoint(r for r, flag in zip(recordings, flags, strict=True) if not flag)
    for name in range(4):
        shown = {r for r, c in zip(recordings, classes, strict=True) if c == name}
        assert len(shown & held_out) <= max(1, round(0.2 * len(shown)))


def test_ids_that_tell_no_recording_are_counted_and_a_column_tells_them(labelled_cache: Path, tmp_path: Path) -> None:
    """Six training videos are named 00 to 02 and 10 to 12, and the column joins two of each class."""
    note = unknown_recordings_note(labelled_rows(Cache(labelled_cache), "split1", "train"))
    assert "the names of 6 of 6 training videos" in note and "--group COLUMN" in note
    shutil.copytree(labelled_cache, tmp_path / "cache")
    index = pd.read_csv(tmp_path / "cache" / "index.csv", dtype=str, keep_default_na=False)
    index["source"] = ["a", "a", "b", "", "", "c", "c", "", "", ""]
    index.to_csv(tmp_path / "cache" / "index.csv", index=False)
    cache = Cache(tmp_path / "cache")
    trained = labelled_rows(cache, "split1", "train")
    kept, held_out = cut_validation(trained, "source")
    for part in (kept, held_out):
        assert np.isin([0, 1], part.rows).all() or not np.isin([0, 1], part.rows).any()
        assert np.isin([5, 6], part.rows).all() or not np.isin([5, 6], part.rows).any()
    assert set(cache.index["video_id"][held_out.rows].str[0]) == {"0", "1"}
    assert "column source is empty for 1 of 6" in unknown_recordings_note(trained, "source")
    with pytest.raises(UserError, match="no column 'film' of groups; it has source"):
        cut_validation(trained, "film")


def test_the_training_rows_of_a_cache_are_cut(labelled_cache: Path) -> None:
    trained = labelled_rows(Cache(labelled_cache), "split1", "train")
    kept, held_out = cut_validation(trained)
    assert sorted([*kept.rows, *held_out.rows]) == trained.rows.tolist()
    assert kept.labels.tolist() == [0, 0, 1, 1] and held_out.labels.tolist() == [0, 1]
    alone = kept.__class__(kept.cache, kept.split, kept.rows[1:3], kept.labels[1:3])
    with pytest.raises(UserError, match="each class has a single recording"):
        cut_validation(alone)

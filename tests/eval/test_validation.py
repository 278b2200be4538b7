"""Validation videos: whole recordings of every class, the same whatever the order."""

from pathlib import Path

import numpy as np
import pytest

from s2vc.eval.labelled import labelled_rows
from s2vc.eval.validation import cut_validation, recording_of, validation_flags
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache


@pytest.mark.parametrize(
    ("video_id", "recording"),
    [
        ("Archery/v_Archery_g08_c03.avi", "v_Archery_g08"),
        ("hug/50_FIRST_DATES_hug_u_cm_np2_ba_med_13.avi", "50_FIRST_DATES_hug"),
        ("kick/BSS_-_Part_1_kick_f_nm_np10_le_bad_0.mp4", "BSS_-_Part_1_kick"),
        ("a/v_g01.avi", "a/v_g01.avi"),
        ("-0_Y_000010_000020", "-0_Y_000010_000020"),
    ],
)
def test_a_recording_is_told_by_the_names_of_the_datasets(video_id: str, recording: str) -> None:
    assert recording_of(video_id) == recording


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51"])
def test_the_datasets_own_lists_are_cut_by_whole_recordings(dataset: str, shared: Path) -> None:
    lines = (shared / "reference" / "lists" / dataset / "train_split1.txt").read_text().splitlines()
    ids = [line.rsplit(" ", 2)[0] for line in lines]
    classes = [video.split("/")[0] for video in ids]
    flags = validation_flags(ids, classes)
    # The recording by other means than a pattern: it is followed by six fields in HMDB51, by one in UCF101.
    groups = [i.rsplit("_", 1)[0] if dataset == "ucf101" else i.rsplit("_", 6)[0] for i in ids]
    held_out = {group for group, flag in zip(groups, flags, strict=True) if flag}
    assert held_out.isdisjoint(group for group, flag in zip(groups, flags, strict=True) if not flag)
    for name in set(classes):
        of_class = {group for group, c in zip(groups, classes, strict=True) if c == name}
        assert len(of_class & held_out) == max(1, round(0.2 * len(of_class)))
    turned = validation_flags(ids[::-1], classes[::-1])
    assert np.array_equal(turned[::-1], flags) and not np.array_equal(validation_flags(ids, classes, 1), flags)


def test_small_classes_give_one_recording_and_keep_one() -> None:
    flags = validation_flags(["a1", "a2", "b1", "c1", "c2", "c3"], [0, 0, 1, 2, 2, 2])
    assert flags[:2].sum() == 1 and not flags[2] and flags[3:].sum() == 1


def test_the_training_rows_of_a_cache_are_cut(labelled_cache: Path) -> None:
    trained = labelled_rows(Cache(labelled_cache), "split1", "train")
    kept, held_out = cut_validation(trained)
    assert sorted([*kept.rows, *held_out.rows]) == trained.rows.tolist()
    assert kept.labels.tolist() == [0, 0, 1, 1] and held_out.labels.tolist() == [0, 1]
    alone = kept.__class__(kept.cache, kept.split, kept.rows[1:3], kept.labels[1:3])
    with pytest.raises(UserError, match="each class has a single recording"):
        cut_validation(alone)

import os

import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.folder import read_folder
from s2vc.manifests.listed_videos import folder_role
from s2vc.manifests.table import check_manifest


def test_the_first_folder_is_the_class(place):
    place.put("walk/1.mp4", "walk/deep/2.MKV", "jump/3.avi", "4.webm")
    reading = read_folder(place.videos)
    assert reading.table.to_dict("list") == {
        "video_id": ["4.webm", "jump/3.avi", "walk/1.mp4", "walk/deep/2.MKV"],
        "path": ["4.webm", "jump/3.avi", "walk/1.mp4", "walk/deep/2.MKV"],
        "label": ["", "0", "1", "1"],
        "class_name": ["", "jump", "walk", "walk"],
    }
    assert reading.missing.empty
    assert reading.notes == []
    check_manifest(reading.table)


def test_folders_named_as_splits_are_splits(place):
    place.put("training/walk/1.mp4", "validation/walk/x/2.mp4", "testing/jump/3.mp4", "test/4.mp4", "5.mp4")
    table = read_folder(place.videos).table
    assert table["video_id"].tolist() == [
        *("5.mp4", "test/4.mp4", "testing/jump/3.mp4", "training/walk/1.mp4", "validation/walk/x/2.mp4")
    ]
    assert table["split1"].tolist() == ["", "test", "test", "train", "val"]
    assert table["class_name"].tolist() == ["", "", "jump", "walk", "walk"]
    assert table["label"].tolist() == ["", "", "0", "1", "1"]


def test_a_class_may_be_named_train_beside_others(place):
    place.put("train/1.mp4", "bus/2.mp4")
    table = read_folder(place.videos).table
    assert table["class_name"].tolist() == ["bus", "train"]
    assert "split1" not in table.columns


def test_other_files_are_counted(place):
    place.put("a/1.mp4", "a/readme.txt", "mp4", "b/1.mp4.part")
    assert read_folder(place.videos).notes == ["3 files skipped: not named as a video"]


def test_names_that_no_manifest_can_hold_are_listed_apart(place):
    place.put("fine.mp4", "a/line\nbreak.mp4", "a/é日本.mp4")
    (place.videos / os.fsdecode(b"caf\xe9.mp4")).touch()
    (place.videos / os.fsdecode(b"d\xff")).mkdir()
    (place.videos / os.fsdecode(b"d\xff/x.mp4")).touch()
    reading = read_folder(place.videos)
    assert reading.table["video_id"].tolist() == ["a/é日本.mp4", "fine.mp4"]
    assert dict(zip(reading.missing["video_id"], reading.missing["reason"], strict=True)) == {
        r"caf\xe9.mp4": "the name is not UTF-8",
        r"d\xff/x.mp4": "the name is not UTF-8",
        r"a/line\nbreak.mp4": "the name has control characters",
    }
    assert reading.notes == [
        "2 files left out: the name is not UTF-8",
        "1 file left out: the name has control characters",
    ]


def test_linked_files_are_rows_and_linked_folders_are_not_entered(place):
    place.put("a/1.mp4")
    os.symlink("1.mp4", place.videos / "a" / "2.mp4")
    os.symlink("nowhere", place.videos / "a" / "3.mp4")
    os.symlink("..", place.videos / "a" / "circle")
    os.symlink("4.mp4", place.videos / "a" / "4.mp4")
    reading = read_folder(place.videos)
    assert reading.table["video_id"].tolist() == ["a/1.mp4", "a/2.mp4", "a/3.mp4", "a/4.mp4"]
    assert reading.notes == ["1 linked folder not entered"]


def test_pipes_named_as_videos_are_no_videos(place):
    place.put("1.mp4")
    os.mkfifo(place.videos / "pipe.mp4")
    reading = read_folder(place.videos)
    assert reading.table["video_id"].tolist() == ["1.mp4"]
    assert reading.notes == ["1 file skipped: not named as a video"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
def test_a_folder_that_cannot_be_read_is_reported(place):
    place.put("1.mp4", "closed/2.mp4")
    (place.videos / "closed").chmod(0)
    reading = read_folder(place.videos)
    (place.videos / "closed").chmod(0o700)
    assert reading.missing["video_id"].tolist() == ["closed"]
    assert reading.notes == ["1 folder left out: cannot be read"]


def test_a_folder_without_videos_is_an_error_that_says_what_is_there(place):
    place.put("a/1.txt")
    with pytest.raises(UserError, match=r"no videos under .*; 1 file skipped"):
        read_folder(place.videos)
    with pytest.raises(UserError, match="no folder"):
        read_folder(place.videos / "nothing")


def test_what_systems_leave_behind_is_counted_and_no_class(place):
    place.put("train/walk/a.mp4", "val/run/b.mp4", "__MACOSX/train/walk/._a.mp4", "train/walk/._a.mp4")
    place.put("@Recycle/g.mp4", "#snapshot/h.mp4", "RECYCLER/i.mp4")
    place.put("@eaDir/c.mp4", ".ipynb_checkpoints/d.mp4", "train/.hidden/e.mp4", "$RECYCLE.BIN/f.mp4", ".DS_Store")
    reading = read_folder(place.videos)
    assert reading.table["video_id"].tolist() == ["train/walk/a.mp4", "val/run/b.mp4"]
    assert reading.table["class_name"].tolist() == ["walk", "run"]
    assert reading.table["split1"].tolist() == ["train", "val"]
    assert reading.notes == ["10 files or folders skipped: hidden, or left behind by a system (__MACOSX, @eaDir)"]


SPELLINGS = {
    "train": ["Train", "TRAINING", "train_256", "train256", "train-set", "trainset", "videos_train", "Training Data"],
    "train ": ["TrainVideos", "traindata", "train_images"],
    "val": ["val_256", "Validation", "validate", "valset"],
    "test": ["Test", "testing", "test_videos", "testset", "test_1"],
    "": ["train_station", "tests", "training_day", "trainer", "train_test", "trainval", "walk", "256", ""],
}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in SPELLINGS.items() for name in names])
def test_splits_are_seen_in_the_usual_spellings(role, name):
    assert folder_role(name) == role.strip()


def test_splits_beside_other_folders_are_told_and_may_be_asked_for(place):
    place.put("Train/walk/a.mp4", "Test/walk/b.mp4", "notes/c.mp4", "d.mp4")
    reading = read_folder(place.videos)
    assert set(reading.table["class_name"]) == {"Train", "Test", "notes", ""}
    assert reading.notes == [
        "Test, Train named as splits, notes not: all are taken for classes (--split-folders always leaves the others "
        "out)"
    ]
    asked = read_folder(place.videos, "always")
    assert asked.table[["video_id", "class_name", "split1"]].to_numpy().tolist() == [
        ["Test/walk/b.mp4", "walk", "test"],
        ["Train/walk/a.mp4", "walk", "train"],
    ]
    assert asked.notes == ["2 videos left out: in no folder that is named as a split"]


def test_folders_named_as_splits_may_be_classes(place):
    place.put("train/a.mp4", "test/b.mp4")
    table = read_folder(place.videos, "never").table
    assert table["class_name"].tolist() == ["test", "train"] and "split1" not in table


def test_endings_of_cameras_discs_and_the_web_are_videos(place):
    names = ["00001.MTS", "a.m2ts", "VTS_01_1.VOB", "b.webp", "c.TS", "d.GIF", "e.3g2", "f.rmvb"]
    place.put(*names, "cover.jpg", "notes.txt", "song.mp3", "data.h5")
    reading = read_folder(place.videos)
    assert sorted(reading.table["video_id"]) == sorted(names)
    assert reading.notes == ["4 files skipped: not named as a video"]


@pytest.mark.parametrize(
    "names",
    [
        ("train_128x171", "val_128x171"),
        ("UCF_train", "UCF_test"),
        ("kinetics400_train", "kinetics400_val"),
        ("train-rgb", "test-rgb"),
        ("train_mp4", "val_mp4"),
        ("train_compress", "val_compress"),
    ],
)
def test_what_all_names_of_splits_have_beside_their_roles_says_nothing(place, names):
    place.put(f"{names[0]}/walk/a.mp4", f"{names[1]}/run/b.mp4")
    table = read_folder(place.videos).table
    assert sorted(table["split1"]) == sorted(["train", "test" if "test" in names[1] else "val"])
    assert sorted(table["class_name"]) == ["run", "walk"]


@pytest.mark.parametrize("names", [("train_station", "bus_station"), ("train_a", "val_b"), ("train_walk", "train_run")])
def test_names_that_differ_in_more_are_classes(place, names):
    place.put(f"{names[0]}/a.mp4", f"{names[1]}/b.mp4")
    assert set(read_folder(place.videos).table["class_name"]) == set(names)


def test_splits_without_classes_are_told(place):
    place.put("train/a.mp4", "test/b.mp4")
    reading = read_folder(place.videos)
    assert reading.table["split1"].tolist() == ["test", "train"]
    assert reading.notes == [
        "test, train taken for splits, without classes in them (--split-folders never: for classes)"
    ]

import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.listed_videos import read_class_names
from s2vc.manifests.lists import read_lists


def test_paths_may_hold_spaces_and_several_lists_make_one_table(place):
    place.put("a b/c 1 2.mp4", "d/e.mp4")
    train = place.write("train.txt", ["a b/c 1 2.mp4 1 78"])
    test = place.write("test.txt", ["d/e.mp4 0 5 "])
    lists = [("split1", "train", train), ("split1", "test", test), ("split2", "val", test)]
    assert read_lists(place.videos, lists).table.to_dict("list") == {
        "video_id": ["a b/c 1 2.mp4", "d/e.mp4"],
        "path": ["a b/c 1 2.mp4", "d/e.mp4"],
        "label": ["1", "0"],
        "class_name": ["", ""],
        "split1": ["train", "test"],
        "split2": ["", "val"],
    }


@pytest.mark.parametrize("names", [["1 Run", "2 Fall Down"], ["Run", "Fall Down"], ["2 Fall Down", "1 Run"]])
def test_class_names_come_numbered_from_one_or_in_order(place, names):
    place.put("x.mp4")
    path = place.write("train.txt", ["x.mp4 1 9"])
    classes = place.write("classes.txt", names, end="\r\n")
    assert read_lists(place.videos, [("split1", "train", path)], classes).table["class_name"].tolist() == ["Fall Down"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "names no class"),
        (["Run", "Jump", "Run"], "line 3: the class 'Run' is there twice"),
        (["1 Run", "3 Jump"], "line 2: '3 Jump' is not NUMBER NAME with a number from 1 to 2"),
        (["0 Run", "1 Jump"], "line 1: '0 Run' is not NUMBER NAME"),
        (["1 Run", "1 Jump"], "two classes have the same number"),
        (["1 Run", "Jump"], "line 2: 'Jump' is not NUMBER NAME"),
        (["1", "2"], "line 1: '1' is not NUMBER NAME"),
    ],
)
def test_class_names_that_do_not_number_the_classes_are_refused(place, names, message):
    with pytest.raises(UserError, match=message):
        read_class_names(place.write("classes.txt", names))


@pytest.mark.parametrize("line", ["x.mp4", "x.mp4 1", "x.mp4 1 ten", "x.mp4 one 10", "x.mp4 -1 10", " 1 10", "1 10"])
def test_a_line_that_does_not_parse_is_named(place, line):
    path = place.write("train.txt", ["a.mp4 0 10", line])
    with pytest.raises(UserError, match=r"train\.txt, line 2: .* is not PATH LABEL FRAMES"):
        read_lists(place.videos, [("split1", "train", path)])


def test_a_video_with_two_labels_is_an_error_that_names_the_line(place):
    path = place.write("train.txt", ["x.mp4 0 10", "y.mp4 1 10", "x.mp4 1 10"])
    with pytest.raises(UserError, match=r"train\.txt, line 3: 'x\.mp4' has class 1 here and 0 in an earlier line"):
        read_lists(place.videos, [("split1", "train", path)])


def test_a_video_that_a_list_repeats_with_the_same_label_is_one_row(place):
    place.put("x.mp4")
    path = place.write("train.txt", ["x.mp4 0 10", "x.mp4 0 10"])
    assert len(read_lists(place.videos, [("split1", "train", path)]).table) == 1


def test_a_label_without_a_class_name_is_an_error(place):
    path = place.write("train.txt", ["x.mp4 2 10"])
    with pytest.raises(UserError, match=r"line 1: label 2, but .* names 2 classes"):
        read_lists(place.videos, [("split1", "train", path)], place.write("classes.txt", ["a", "b"]))


@pytest.mark.parametrize(("split", "role"), [("first", "train"), ("split1", "training"), ("", "")])
def test_a_split_column_or_role_that_no_manifest_has_is_refused(place, split, role):
    with pytest.raises(UserError, match="is not split1, split2"):
        read_lists(place.videos, [(split, role, place.write("train.txt", ["x.mp4 0 1"]))])


def test_lists_that_name_nothing_are_an_error(place):
    with pytest.raises(UserError, match="name no video"):
        read_lists(place.videos, [("split1", "train", place.write("train.txt", ["", " "]))])


# Table 1 of the paper is on these splits; their sizes are those of the data sets' own first splits.
@pytest.mark.parametrize(
    ("name", "train", "test", "classes"), [("ucf101", 9537, 3783, 101), ("hmdb51", 3570, 1530, 51)]
)
def test_the_published_lists_are_read_whole(place, published_lists, name, train, test, classes):
    lists = published_lists / name
    for split in ("train", "test"):
        place.put(*(line.rsplit(" ", 2)[0] for line in (lists / f"{split}_split1.txt").read_text().splitlines()))
    given = [("split1", split, lists / f"{split}_split1.txt") for split in ("train", "test")]
    reading = read_lists(place.videos, given, lists / "ClassInd.txt")
    table = reading.table
    assert table["split1"].value_counts().to_dict() == {"train": train, "test": test}
    assert table["class_name"].nunique() == table["label"].nunique() == classes
    assert table["class_name"].tolist() == [video.split("/")[0] for video in table["video_id"]]
    assert reading.missing.empty
    assert len(reading.notes) == 1
    assert reading.notes[0].startswith(f"columns taken as path, label, frames (label from 0 to {classes - 1}, frames")


ORDERS = {
    "published": ["Walk/a b.mp4 1 163", "Walk/w2.mp4 1 99", "Run/r1.mp4 0 88", "Run/r2.mp4 0 163"],
    "mmaction2 frames": ["Walk/a b.mp4 163 1", "Walk/w2.mp4 99 1", "Run/r1.mp4 88 0", "Run/r2.mp4 163 0"],
    "mmaction2 videos": ["Walk/a b.mp4 1", "Walk/w2.mp4 1", "Run/r1.mp4 0", "Run/r2.mp4 0"],
    "tabs": ["Walk/a b.mp4\t163\t1", "Walk/w2.mp4\t99\t1", "Run/r1.mp4\t88\t0", "Run/r2.mp4\t163\t0"],
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_of_the_columns_is_told_and_said(place, name):
    place.put("Walk/a b.mp4", "Walk/w2.mp4", "Run/r1.mp4", "Run/r2.mp4")
    reading = read_lists(place.videos, [("split1", "train", place.write("train.txt", ORDERS[name]))])
    assert reading.table.set_index("video_id")["label"].to_dict() == {
        "Walk/a b.mp4": "1",
        "Walk/w2.mp4": "1",
        "Run/r1.mp4": "0",
        "Run/r2.mp4": "0",
    }
    if name != "mmaction2 videos":
        assert "(label from 0 to 1, frames from 88 to 163)" in reading.notes[0]


def test_without_folders_the_order_is_told_from_names_and_from_values(place):
    videos = [f"v{n}.mp4" for n in range(40)]
    place.put(*videos)
    lines = [f"{video} {60 + 7 * n % 31} {n % 3}" for n, video in enumerate(videos)]
    right = [str(n % 3) for n in range(40)]
    reading = read_lists(place.videos, [("split1", "train", place.write("train.txt", lines))])
    assert reading.table.set_index("video_id").loc[videos, "label"].tolist() == right
    two = place.write("two.txt", lines[:2])
    names = place.write("names.txt", ["a", "b", "c"])
    named = read_lists(place.videos, [("split1", "train", two)], names).table
    assert named["class_name"].tolist() == ["a", "b"]
    unclear = place.write("unclear.txt", ["v0.mp4 12 11", "v1.mp4 13 14"])
    doubtful = read_lists(place.videos, [("split1", "train", unclear)])
    assert doubtful.table["label"].tolist() == ["12", "13"]
    assert "which could be otherwise; --columns path,frames,label for the other order" in doubtful.notes[0]
    given = read_lists(place.videos, [("split1", "train", two)], columns="path,frames,label")
    assert given.table["label"].tolist() == ["0", "1"] and given.notes == []


@pytest.mark.parametrize("columns", ["label,path", "path", "frames"])
def test_columns_that_no_list_has_are_refused(place, columns):
    with pytest.raises(UserError, match="--columns is one of path,label,frames; path,frames,label; path,label"):
        read_lists(place.videos, [("split1", "train", place.write("train.txt", ["a 0 1"]))], columns=columns)


def test_reported_lists_are_read_as_they_were_meant(place, shared):
    reports = shared / "data" / "reports"
    files = [("split1", role, reports / f"list_path_frames_label_{role}.txt") for role in ("train", "test")]
    place.put(*(line.split(" ")[0] for _, _, file in files for line in file.read_text().splitlines()))
    table = read_lists(place.videos, files).table.set_index("video_id")["label"].to_dict()
    assert table == {video: "1" if video.startswith("Walk/") else "0" for video in table} and len(table) == 6


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (["p1/run.mp4 0 100", "p1/walk.mp4 1 100", "p2/run.mp4 0 120", "p2/walk.mp4 1 120"], ["0", "1", "0", "1"]),
        (["a/1.mp4 300 3", "a/2.mp4 300 3", "b/3.mp4 300 40", "b/4.mp4 300 40"], ["3", "3", "40", "40"]),
        (["Run/1.mp4 120 0", "Walk/2.mp4 77 1", "Jump/3.mp4 80 2"], ["2", "0", "1"]),
    ],
    ids=["subjects as folders", "equally long", "one of each class"],
)
def test_numbers_of_frames_are_never_taken_for_labels(place, lines, labels):
    place.put(*(line.split(" ")[0] for line in lines))
    table = read_lists(place.videos, [("split1", "train", place.write("train.txt", lines))]).table
    assert table["label"].tolist() == labels


def test_labels_that_may_count_from_1_are_told(place):
    place.put("Run/1.mp4", "Run/2.mp4")
    names = place.write("names.txt", ["1 Run", "2 Walk"])
    reading = read_lists(
        place.videos, [("split1", "train", place.write("t.txt", ["Run/1.mp4 1", "Run/2.mp4 1"]))], names
    )
    assert "no line has label 0, which is Run: labels count from 0" in reading.notes


@pytest.mark.parametrize(
    ("lines", "labels"), [(["a.mp4 12 11", "b.mp4 13 14"], "12 13"), (["a.mp4 11 12", "b.mp4 14 13"], "12 13")]
)
def test_the_frames_of_the_files_decide_where_numbers_do_not(place, lines, labels):
    place.put("a.mp4", "b.mp4")
    frames = {"a.mp4": 11, "b.mp4": 14}
    listed = [("split1", "train", place.write("train.txt", lines))]
    reading = read_lists(place.videos, listed, count_frames=lambda path: frames[path.name])
    assert reading.table["label"].tolist() == labels.split(" ")
    assert "could be otherwise" not in reading.notes[0]

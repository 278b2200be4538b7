import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.ucf101 import read_ucf101

CLASSES = ["1 ApplyEyeMakeup", "2 Archery", "3 YoYo"]
EYE, ARCHERY, YOYO = (
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "Archery/v_Archery_g01_c01.avi",
    "YoYo/v_YoYo_g01_c01.avi",
)


@pytest.fixture
def ucf101(place):
    place.put(EYE, ARCHERY, YOYO)
    place.write("classInd.txt", CLASSES, end="\r\n")
    place.write("trainlist01.txt", [f"{YOYO} 3", f"{EYE} 1"], end="\r\n")
    place.write("testlist01.txt", [ARCHERY], end="\r\n")
    return place


def test_labels_are_the_numbers_of_class_ind_minus_one(ucf101):
    reading = read_ucf101(ucf101.videos, ucf101.lists)
    assert reading.table.to_dict("list") == {
        "video_id": [EYE, ARCHERY, YOYO],
        "path": [EYE, ARCHERY, YOYO],
        "label": ["0", "1", "2"],
        "class_name": ["ApplyEyeMakeup", "Archery", "YoYo"],
        "split1": ["train", "test", "train"],
    }
    assert reading.notes == []


def test_splits_stand_side_by_side_as_far_as_they_are_there(ucf101):
    ucf101.write("trainlist03.txt", [f"{ARCHERY} 2"])
    ucf101.write("testlist03.txt", [YOYO])
    table = read_ucf101(ucf101.videos, ucf101.lists).table
    assert table.columns.tolist()[-2:] == ["split1", "split3"]
    assert table["split3"].tolist() == ["", "train", "test"]


def test_videos_people_hold_as_mp4_are_found_and_missing_ones_reported(ucf101):
    (ucf101.videos / EYE).rename((ucf101.videos / EYE).with_suffix(".mp4"))
    (ucf101.videos / YOYO).unlink()
    reading = read_ucf101(ucf101.videos, ucf101.lists)
    assert reading.table["video_id"].tolist() == [EYE.replace(".avi", ".mp4"), ARCHERY]
    assert reading.missing["video_id"].tolist() == [YOYO]
    assert reading.notes[0] == "1 of 3 listed videos are not on disk"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{YOYO} one", "is not CLASS/NAME or CLASS/NAME NUMBER"),
        (f"{YOYO} 3 4", "is not CLASS/NAME or CLASS/NAME NUMBER"),
        ("v_YoYo_g01_c01.avi 3", "is not CLASS/NAME or CLASS/NAME NUMBER"),
        ("YoYo/ 3", "is not CLASS/NAME or CLASS/NAME NUMBER"),
        ("Juggling/v.avi 3", "no class 'Juggling' in classInd.txt"),
        (f"{YOYO} 2", "class 2, but YoYo has number 3"),
    ],
)
def test_a_training_line_that_does_not_parse_is_named(ucf101, line, message):
    ucf101.write("trainlist01.txt", [f"{EYE} 1", line])
    with pytest.raises(UserError, match=rf"trainlist01\.txt, line 2: .*{message}"):
        read_ucf101(ucf101.videos, ucf101.lists)


def test_a_video_in_both_halves_of_a_split_is_an_error(ucf101):
    ucf101.write("testlist01.txt", [ARCHERY, EYE])
    with pytest.raises(UserError, match=r"testlist01\.txt, line 2: .* is test of split1 here and train in an earlier"):
        read_ucf101(ucf101.videos, ucf101.lists)


def test_a_line_that_leaves_the_root_is_a_missing_video(ucf101):
    (ucf101.videos.parent / "secret.avi").touch()
    ucf101.write("trainlist01.txt", [f"{EYE} 1", "YoYo/../../secret.avi 3"])
    reading = read_ucf101(ucf101.videos, ucf101.lists)
    assert reading.missing[["video_id", "reason"]].values.tolist() == [["YoYo/../../secret.avi", "leaves the root"]]


@pytest.mark.parametrize("name", ["classInd.txt", "trainlist01.txt", "testlist01.txt"])
def test_a_list_that_is_missing_is_named(ucf101, name):
    (ucf101.lists / name).unlink()
    with pytest.raises(UserError, match=rf"cannot read .*{name}"):
        read_ucf101(ucf101.videos, ucf101.lists)


def test_a_folder_without_lists_is_an_error(ucf101):
    for name in ("trainlist01.txt", "testlist01.txt"):
        (ucf101.lists / name).unlink()
    with pytest.raises(UserError, match=r"no trainlist01\.txt"):
        read_ucf101(ucf101.videos, ucf101.lists)

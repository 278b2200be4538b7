import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.hmdb51 import read_hmdb51, read_jhmdb

ODD = "#437_How_To_Ride_A_Bike_(&_Fall!)_[HQ]_ride_bike_f_cm_np1_ba_med_0.avi"
WAVE = "50_FIRST_DATES_wave_f_cm_np1_fr_med_0.avi"


@pytest.fixture
def hmdb51(place):
    place.put(f"ride_bike/{ODD}", "ride_bike/b.avi", f"wave/{WAVE}")
    place.write("ride_bike_test_split1.txt", [f"{ODD} 1 ", "b.avi 0 "])
    place.write("wave_test_split1.txt", [f"{WAVE} 2 "], end="\r\n")
    return place


def test_roles_are_one_for_train_two_for_test_and_zero_for_neither(hmdb51):
    table = read_hmdb51(hmdb51.videos, hmdb51.lists).table
    assert table.to_dict("list") == {
        "video_id": [f"ride_bike/{ODD}", "ride_bike/b.avi", f"wave/{WAVE}"],
        "path": [f"ride_bike/{ODD}", "ride_bike/b.avi", f"wave/{WAVE}"],
        "label": ["0", "0", "1"],
        "class_name": ["ride_bike", "ride_bike", "wave"],
        "split1": ["train", "", "test"],
    }


def test_splits_stand_side_by_side(hmdb51):
    hmdb51.write("ride_bike_test_split2.txt", [f"{ODD} 2", "b.avi 1"])
    hmdb51.write("wave_test_split2.txt", [f"{WAVE} 0"])
    assert read_hmdb51(hmdb51.videos, hmdb51.lists).table["split2"].tolist() == ["test", "train", ""]


def test_labels_do_not_depend_on_what_is_on_disk(hmdb51):
    for name in (ODD, "b.avi"):
        (hmdb51.videos / "ride_bike" / name).unlink()
    reading = read_hmdb51(hmdb51.videos, hmdb51.lists)
    assert reading.table[["class_name", "label"]].values.tolist() == [["wave", "1"]]
    assert reading.notes[0] == "2 of 3 listed videos are not on disk"


def test_fewer_than_51_classes_are_reported_because_labels_shift(hmdb51):
    assert read_hmdb51(hmdb51.videos, hmdb51.lists).notes == [
        "2 classes, HMDB51 has 51: labels differ from those of all"
    ]


@pytest.mark.parametrize("line", ["b.avi", "b.avi 3", "b.avi one", " 1"])
def test_a_line_that_does_not_parse_is_named(hmdb51, line):
    hmdb51.write("wave_test_split1.txt", [f"{WAVE} 2", line])
    with pytest.raises(UserError, match=r"wave_test_split1\.txt, line 2: .* is not NAME 0, NAME 1 or NAME 2"):
        read_hmdb51(hmdb51.videos, hmdb51.lists)


def test_a_video_with_two_roles_in_a_split_is_an_error(hmdb51):
    hmdb51.write("wave_test_split1.txt", [f"{WAVE} 2", f"{WAVE} 1"])
    with pytest.raises(UserError, match=r"line 2: .* is train of split1 here and test in an earlier line"):
        read_hmdb51(hmdb51.videos, hmdb51.lists)


def test_a_line_that_leaves_the_root_is_a_missing_video(hmdb51):
    (hmdb51.videos.parent / "secret.avi").touch()
    hmdb51.write("wave_test_split1.txt", [f"{WAVE} 2", "../../secret.avi 1"])
    missing = read_hmdb51(hmdb51.videos, hmdb51.lists).missing
    assert missing[["video_id", "reason"]].values.tolist() == [["wave/../../secret.avi", "leaves the root"]]


def test_a_class_without_a_split_that_others_have_is_an_error(hmdb51):
    hmdb51.write("wave_test_split3.txt", [f"{WAVE} 2"])
    with pytest.raises(UserError, match=r"no ride_bike_test_split3\.txt in"):
        read_hmdb51(hmdb51.videos, hmdb51.lists)


def test_folders_without_lists_are_errors(hmdb51):
    with pytest.raises(UserError, match=r"no CLASS_test_split1\.txt"):
        read_hmdb51(hmdb51.videos, hmdb51.videos)
    with pytest.raises(UserError, match="no folder"):
        read_hmdb51(hmdb51.videos, hmdb51.lists / "nothing")


def test_jhmdb_has_the_same_lists_and_its_own_folder(place):
    names = ["April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "b.avi"]
    place.put(f"ReCompress_Videos/brush_hair/{names[0]}", "ReCompress_Videos/wave/b.avi")
    place.write("brush_hair_test_split1.txt", [f"{names[0]} 1"])
    place.write("wave_test_split1.txt", [f"{names[1]} 2"])
    place.write("._wave_test_split1.txt", ["Mac OS X"])
    reading = read_jhmdb(place.videos, place.lists)
    assert reading.table[["video_id", "label", "split1"]].values.tolist() == [
        [f"ReCompress_Videos/brush_hair/{names[0]}", "0", "train"],
        ["ReCompress_Videos/wave/b.avi", "1", "test"],
    ]
    assert reading.notes[-1] == "2 classes, JHMDB has 21: labels differ from those of all"

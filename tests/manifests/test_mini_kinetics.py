"""Mini-Kinetics: ids from its lists, classes and times from Kinetics' CSV files."""

import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.mini_kinetics import read_mini_kinetics

CSV = [
    "label,youtube_id,time_start,time_end,split,is_cc",
    "zumba,-A_b1234567,10,20,train,0",
    "archery,bbbbbbbbbbb,3,13,train,0",
    "air drumming,ccccccccccc,0,10,val,0",
    "archery,ddddddddddd,0,10,val,0",
]


@pytest.fixture
def mini(place):
    place.put("train/zumba/-A_b1234567_000010_000020.mp4", "val/air_drumming/ccccccccccc_000000_000010.mp4")
    place.put("train/archery/bbbbbbbbbbb_000003_000013.mp4")
    place.write("k400.csv", CSV)
    place.write("train_ytid_list.txt", ["-A_b1234567", "eeeeeeeeeee"])
    place.write("val_ytid_list.txt", ["ccccccccccc"], end="\r\n")
    return place


def read(place):
    return read_mini_kinetics(place.videos, place.lists, [place.lists / "k400.csv"])


def test_ids_come_from_the_lists_and_classes_from_the_csv(mini):
    reading = read(mini)
    columns = ["video_id", "label", "class_name", "split1"]
    assert reading.table[columns].values.tolist() == [
        ["train/zumba/-A_b1234567_000010_000020.mp4", "1", "zumba", "train"],
        ["val/air_drumming/ccccccccccc_000000_000010.mp4", "0", "air drumming", "val"],
    ]
    assert "1 of 3 ids of Mini-Kinetics are in none of the CSV files" in reading.notes


def test_the_role_is_the_one_of_the_list(mini):
    mini.write("val_ytid_list.txt", ["ccccccccccc", "bbbbbbbbbbb"])
    assert read(mini).table.set_index("class_name")["split1"]["archery"] == "val"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("zumba/-A_b1234567.mp4", r"train_ytid_list\.txt, line 1: .* is not the id of a YouTube video, 11 characters"),
        ("ccccccccccc", r"val_ytid_list\.txt, line 1: ccccccccccc is val here and train in the other list"),
    ],
)
def test_lines_that_are_no_ids_and_ids_in_both_lists_are_named(mini, line, message):
    mini.write("train_ytid_list.txt", [line])
    with pytest.raises(UserError, match=message):
        read(mini)


def test_a_missing_list_is_named(mini):
    (mini.lists / "val_ytid_list.txt").unlink()
    with pytest.raises(UserError, match=r"cannot read .*val_ytid_list\.txt: No such file"):
        read(mini)

from collections import Counter

import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.kinetics import kinetics200, read_kinetics
from s2vc.manifests.on_disk import Reading
from s2vc.manifests.table import build_table

HEADER = "label,youtube_id,time_start,time_end,split"
TRAIN = ["riding a bike,-AbC_d-0123,7,17,train", '"abseiling","nan",0,10,train']
VAL = ["riding a bike,00000000123,100,110,validate"]


def read(place, *lines, header=HEADER):
    return read_kinetics(place.videos, [place.write("k.csv", [header, *lines])])


def test_classes_are_numbered_by_name_over_all_files_and_validate_is_val(place):
    ids = ["abseiling/nan_000000_000010.mp4", "riding a bike/-AbC_d-0123_000007_000017.mp4"]
    ids.append("riding a bike/00000000123_000100_000110.mp4")
    place.put(*ids)
    csvs = [place.write("train.csv", [HEADER, *TRAIN]), place.write("val.csv", [HEADER, *VAL])]
    reading = read_kinetics(place.videos, csvs)
    assert reading.table.to_dict("list") == {
        "video_id": ids,
        "path": ids,
        "label": ["0", "1", "1"],
        "class_name": ["abseiling", "riding a bike", "riding a bike"],
        "split1": ["train", "train", "val"],
    }
    assert reading.notes == []


@pytest.mark.parametrize("folder", ["", "riding a bike/", "riding_a_bike/"])
@pytest.mark.parametrize("top", ["", "val/", "validate/", "validation/"])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_video_is_found_in_the_folders_that_people_use(place, folder, top, ending):
    on_disk = f"{top}{folder}00000000123_000100_000110.{ending}"
    place.put(on_disk)
    assert read(place, *VAL).table["path"].tolist() == [on_disk]


def test_a_video_of_one_split_is_not_taken_from_the_folder_of_another(place):
    place.put("train/00000000123_000100_000110.mp4", "train/abseiling/nan_000000_000010.mp4")
    reading = read(place, *TRAIN, *VAL)
    assert reading.table["video_id"].tolist() == ["train/abseiling/nan_000000_000010.mp4"]
    assert reading.notes[0] == "2 of 3 listed videos are not on disk"


def test_a_test_set_without_labels_has_no_classes(place):
    place.put("test/abc_000001_000011.mp4")
    table = read(place, "abc,1,11,test,0", header="youtube_id,time_start,time_end,split,is_cc").table
    assert table.iloc[0].tolist() == ["test/abc_000001_000011.mp4"] * 2 + ["", "", "test"]


@pytest.mark.parametrize(
    "row",
    ["../outside,x,0,10,train", "a,../../outside/x,0,10,train", "/tmp,x,0,10,train", "..,x,0,10,train"],
)
def test_a_row_that_leaves_the_root_is_a_missing_video(place, row):
    place.put("a/ok_000000_000010.mp4", "x_000000_000010.mp4", "../outside/x_000000_000010.mp4")
    reading = read(place, "a,ok,0,10,train", row)
    assert reading.table["video_id"].tolist() == ["a/ok_000000_000010.mp4"]
    assert reading.missing["reason"].tolist() == ["leaves the root"]


@pytest.mark.parametrize(
    "row",
    [
        "a,x,zero,10,train",
        "a,x,0,10.5,train",
        "a,x,-1,10,train",
        "a,,0,10,train",
        "a,x,0,10,",
        "a,x,0,10,holdout",
    ],
)
def test_a_row_that_does_not_parse_is_named(place, row):
    with pytest.raises(UserError, match=r"k\.csv, line 3: not a youtube_id, two whole seconds and a split"):
        read(place, TRAIN[0], row)


def test_a_name_with_control_characters_is_an_error(place):
    with pytest.raises(UserError, match=r"k\.csv, line 2: .* has control characters"):
        read(place, "a,x\x1b[2J,0,10,train")


def test_files_without_the_columns_or_rows_are_errors(place):
    with pytest.raises(UserError, match=r"k\.csv: no column time_start"):
        read(place, header="label,youtube_id,split")
    with pytest.raises(UserError, match="name no video"):
        read(place)


def kinetics(train, val=30, test=3):
    """A reading of classes with train videos each, in no particular order."""
    rows = [
        (f"{name}/{role}{number:04d}.mp4", name, role)
        for name, size in train.items()
        for role, many in (("train", size), ("val", val), ("test", test))
        for number in range(many)
    ]
    ids, names, roles = zip(*rows, strict=True)
    return Reading(build_table({"video_id": ids, "class_name": names, "split1": roles}), build_table({"path": []}), [])


def test_kinetics200_is_of_the_200_largest_classes_ties_by_name():
    sizes = {f"c{number:03d}": 2 if number % 2 else 1 for number in range(300)}
    table = kinetics200(kinetics(sizes, val=1), seed=0).table
    large = [name for name in sizes if sizes[name] == 2] + [name for name in sizes if sizes[name] == 1][:50]
    assert sorted(set(table["class_name"])) == sorted(large)
    assert table.drop_duplicates("class_name")["label"].tolist() == [str(label) for label in range(200)]
    assert table["video_id"].is_monotonic_increasing


def test_kinetics200_takes_400_training_and_25_validation_videos_or_what_is_there():
    reading = kinetics({"small": 7, "large": 450}, val=30)
    drawn = kinetics200(reading, seed=0)
    assert Counter(zip(drawn.table["class_name"], drawn.table["split1"], strict=True)) == {
        ("large", "train"): 400,
        ("large", "val"): 25,
        ("small", "train"): 7,
        ("small", "val"): 25,
    }
    assert drawn.notes == ["Kinetics-200: 457 videos of 2 classes, of 523 videos"]


def test_kinetics200_depends_on_the_seed_and_not_on_the_order_of_rows():
    reading = kinetics({"b": 500, "a": 420})
    shuffled = reading.table.sample(frac=1, random_state=1, ignore_index=True)
    assert not shuffled.equals(reading.table)
    one = kinetics200(reading, seed=3).table
    assert one.equals(kinetics200(Reading(shuffled, reading.missing, []), seed=3).table)
    assert set(one["video_id"]) != set(kinetics200(reading, seed=4).table["video_id"])


def test_kinetics200_without_training_videos_is_an_error():
    with pytest.raises(UserError, match="no training videos"):
        kinetics200(kinetics({"a": 0}), seed=0)

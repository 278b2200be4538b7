import os

import pytest

from s2vc.manifests.errors import UserError
from s2vc.manifests.on_disk import FolderFiles, find_listed, write_missing
from s2vc.manifests.table import build_table, read_manifest, write_manifest


def find(place, *listed, **columns):
    return find_listed(build_table({"video_id": list(listed), **columns}), FolderFiles(place.videos))


def reasons(reading):
    return dict(zip(reading.missing["video_id"], reading.missing["reason"], strict=True))


def test_videos_on_disk_are_kept_sorted_with_what_the_list_says(place):
    place.put("b/2.mp4", "a/1.mp4", "a/not listed.mp4")
    reading = find(place, "b/2.mp4", "a/1.mp4", class_name=["B", "A"], split1=["test", "train"])
    assert reading.table["video_id"].tolist() == ["a/1.mp4", "b/2.mp4"]
    assert reading.table["label"].tolist() == ["0", "1"]
    assert reading.table["split1"].tolist() == ["train", "test"]
    assert reading.missing.empty
    assert reading.notes == []


def test_missing_videos_are_counted_and_distinguished_with_the_rest_of_their_row(place):
    place.put("a/1.mp4")
    reading = find(place, "a/1.mp4", "a/2.mp4", "no/3.mp4", class_name=["A", "A", "B"], split1=["train"] * 3)
    assert reading.table["video_id"].tolist() == ["a/1.mp4"]
    assert reading.missing.to_dict("list") == {
        "video_id": ["a/2.mp4", "no/3.mp4"],
        "label": ["0", "1"],
        "class_name": ["A", "B"],
        "split1": ["train", "train"],
        "reason": ["not on disk", "not on disk"],
    }
    assert reading.notes == ["2 of 3 listed videos are not on disk"]


@pytest.mark.parametrize(
    ("on_disk", "listed"),
    [
        ("a/x.avi", "a/x.mp4"),
        ("a/x.mp4", "a/x.avi"),
        ("a/x.MP4", "a/x.mp4"),
        ("a/x.webm", "a/x"),
        ("x.y.mkv", "x.y.avi"),
        ("a/x.avi", "./a//x.mp4"),
    ],
)
def test_a_video_is_found_under_another_ending_and_takes_the_name_it_has_on_disk(place, on_disk, listed):
    place.put(on_disk)
    reading = find(place, listed)
    assert reading.table["video_id"].tolist() == reading.table["path"].tolist() == [on_disk]
    assert reading.notes == ["1 of 1 listed videos have another name on disk (folder or ending)"]


def test_the_exact_name_goes_before_other_endings_and_these_by_preference(place):
    place.put("x.mp4", "x.avi", "y.webm", "y.avi", "y.mkv")
    assert find(place, "x.avi", "y.mp4").table["video_id"].tolist() == ["x.avi", "y.avi"]


@pytest.mark.parametrize("other", ["x.txt", "x.mp4.part", "x2.mp4", "x", "b/x.mp4"])
def test_other_files_do_not_pass_for_the_video(place, other):
    place.put(other, "there.mp4")
    assert reasons(find(place, "there.mp4", "x.mp4")) == {"x.mp4": "not on disk"}


def test_a_folder_named_as_a_video_is_none(place):
    place.put("x.mp4/inside.mp4")
    assert reasons(find(place, "x.mp4", "x.mp4/inside.mp4")) == {"x.mp4": "not on disk"}


@pytest.mark.parametrize("listed", ["../secret.mp4", "a/../../secret.mp4", "{root}/../secret.mp4", "a/../there.mp4"])
def test_a_listed_path_never_leads_out_of_the_root(place, listed):
    place.put("there.mp4", "a/1.mp4")
    (place.videos.parent / "secret.mp4").touch()
    listed = listed.format(root=place.videos)
    reading = find(place, "there.mp4", listed)
    assert reading.table["video_id"].tolist() == ["there.mp4"]
    assert reasons(reading) == {listed: "leaves the root"}
    assert reading.notes == ["1 of 2 listed videos leave the root"]
    assert FolderFiles(place.videos).find(listed) is None
    assert not FolderFiles(place.videos).has_files(".." if listed.startswith("..") else listed.rpartition("/")[0])


def test_two_listed_names_of_one_file_make_one_row_of_the_exact_name(place):
    place.put("x.avi")
    reading = find(place, "x.mp4", "x.avi", label=["1", "2"])
    assert reading.table["label"].tolist() == ["2"]
    assert reasons(reading) == {"x.mp4": "same file as another listed video"}


def test_linked_files_and_folders_count_and_broken_links_do_not(place):
    place.put("real/x.mp4")
    os.symlink("real", place.videos / "linked")
    os.symlink("real/x.mp4", place.videos / "link.mp4")
    os.symlink("nowhere", place.videos / "broken.mp4")
    os.symlink("circle.mp4", place.videos / "circle.mp4")
    reading = find(place, "linked/x.mp4", "link.mp4", "broken.mp4", "circle.mp4", "circle.mp4/x.mp4")
    assert reading.table["video_id"].tolist() == ["link.mp4", "linked/x.mp4"]
    assert set(reasons(reading)) == {"broken.mp4", "circle.mp4", "circle.mp4/x.mp4"}


def test_a_name_too_long_for_a_disk_is_not_on_it(place):
    place.put("x.mp4")
    long = "long" * 1000 + "/x.mp4"
    assert reasons(find(place, "x.mp4", long)) == {long: "not on disk"}


def test_nothing_found_is_an_error_that_gives_an_example(place):
    with pytest.raises(UserError, match=r"none of 2 listed videos is under .*videos, as 'a/1\.mp4' would be"):
        find(place, "a/1.mp4", "a/2.mp4")


def test_a_root_that_is_no_folder_is_an_error(place):
    place.put("x.mp4")
    for root in (place.videos / "nothing", place.videos / "x.mp4"):
        with pytest.raises(UserError, match="no folder"):
            FolderFiles(root)


@pytest.mark.parametrize("name", ["ucf.csv", "ucf.parquet"])
def test_the_missing_videos_are_written_beside_the_manifest(place, tmp_path, name):
    place.put("a,1.mp4")
    reading = find(place, "a,1.mp4", "00123", '"2".mp4')
    write_manifest(reading.table, tmp_path / name)
    path = write_missing(reading.missing, tmp_path / name)
    assert path == tmp_path / "ucf.missing.csv"
    assert read_manifest(path)["video_id"].tolist() == ["00123", '"2".mp4']
    assert read_manifest(path)["reason"].tolist() == ["not on disk"] * 2


def test_an_old_file_of_missing_videos_goes_when_none_are_missing(place, tmp_path):
    place.put("1.mp4")
    (tmp_path / "m.missing.csv").touch()
    assert write_missing(find(place, "1.mp4").missing, tmp_path / "m.csv") is None
    assert not (tmp_path / "m.missing.csv").exists()

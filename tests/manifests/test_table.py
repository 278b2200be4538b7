import os
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import (
    build_table,
    check_manifest,
    read_manifest,
    record_root,
    root_of,
    split_columns,
    write_manifest,
)

AWKWARD = ("00123", "null", "NA", "nan", "1e5", "True", "-x", "=1+1", '"', "a,b", "'", "#", " a ", "日本")
TEXT = st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=("Cc", "Cs"))))
ENDINGS = pytest.mark.parametrize("ending", ["csv", "parquet"])


def a_table(**columns):
    return build_table({"video_id": ["a/1.mp4", "b/2.mp4"], **columns})


@ENDINGS
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXT.filter(str.strip), TEXT, TEXT), min_size=1, max_size=8, unique_by=lambda r: r[0]))
def test_any_text_comes_back_as_it_was_written(tmp_path_factory, ending, rows):
    path = tmp_path_factory.mktemp("round") / f"manifest.{ending}"
    ids, names, notes = (list(column) for column in zip(*rows, strict=True))
    write_manifest(build_table({"video_id": ids, "class_name": names, "note": notes}), path)
    back = read_manifest(path)
    assert list(back.columns) == ["video_id", "path", "label", "class_name", "note"]
    assert back["video_id"].tolist() == back["path"].tolist() == ids
    assert back["class_name"].tolist() == names
    assert back["note"].tolist() == notes


CELLS = st.one_of(
    st.sampled_from((*AWKWARD, "video_id", "path", "label", "split1", "train", "\x00", "\x1b", "\r", "")), TEXT
)
TABLES = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=5).map("\n".join).map(str.encode)


@ENDINGS
@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=60) | TABLES | TABLES.map(lambda rows: b"video_id,label\n" + rows))
def test_any_bytes_are_a_manifest_or_refused(tmp_path_factory, ending, content):
    path = tmp_path_factory.mktemp("any") / f"manifest.{ending}"
    path.write_bytes(content)
    try:
        table = read_manifest(path)
    except UserError:
        return
    write_manifest(table, path)
    assert read_manifest(path).equals(table)


def test_a_csv_manifest_is_utf8_with_plain_line_ends(tmp_path):
    write_manifest(a_table(class_name=["é", "b"], split2=["train", ""]), tmp_path / "new" / "m.csv")
    assert (tmp_path / "new" / "m.csv").read_bytes().decode() == (
        "video_id,path,label,class_name,split2\na/1.mp4,a/1.mp4,1,é,train\nb/2.mp4,b/2.mp4,0,b,\n"
    )


@pytest.mark.parametrize("given", ["video_id", "path"])
def test_id_and_path_stand_in_for_one_another(place, given):
    table = read_manifest(place.write("m.csv", [given, "x/1.avi", "2.avi"]))
    assert table.to_dict("list") == {
        "video_id": ["x/1.avi", "2.avi"],
        "path": ["x/1.avi", "2.avi"],
        "label": ["", ""],
        "class_name": ["", ""],
    }


def test_classes_without_labels_are_numbered_by_name(place):
    table = read_manifest(place.write("m.csv", ["path,class_name", "1.avi,run", "2.avi,", "3.avi,NA", "4.avi,run"]))
    assert table["label"].tolist() == ["1", "", "0", "1"]


def test_labels_that_are_given_are_kept(place):
    table = read_manifest(place.write("m.csv", ["path,class_name,label", "1.avi,run,7", "2.avi,jump,"]))
    assert table["label"].tolist() == ["7", ""]


def test_columns_come_in_their_usual_order(place):
    header = "note,split10,path,split2,label,split,splits"
    table = read_manifest(place.write("m.csv", [header, "x,train,1.avi,test,3,val,any"]))
    assert split_columns(table) == ["split", "split2", "split10"]
    usual = ["video_id", "path", "label", "class_name", "split", "split2", "split10", "note", "splits"]
    assert list(table.columns) == usual
    assert table.iloc[0].tolist() == ["1.avi", "1.avi", "3", "", "val", "test", "train", "x", "any"]


def test_named_splits_follow_the_numbered_ones_in_the_tables_order(place):
    header = "path,split_swapped,split2,split_a1,split,split_Upper,part"
    table = read_manifest(place.write("m.csv", [header, "1.avi,test,train,,val,any,test"]))
    assert split_columns(table) == ["split", "split2", "split_swapped", "split_a1"]
    assert table.columns[-2:].tolist() == ["split_Upper", "part"]
    with pytest.raises(UserError, match="row 1: split_a1 'maybe' is none of train"):
        read_manifest(place.write("n.csv", ["path,split_a1", "1.avi,maybe"]))


def test_parquet_columns_of_other_types_come_as_text(tmp_path):
    frame = pd.DataFrame(
        {"path": ["1.avi", "2.avi", "3.avi"], "label": [3, None, 0], "size": [7, 8, 9]}, index=[5, 6, 7]
    )
    frame["class_name"] = pd.Categorical(["run", None, "jump"])
    frame.to_parquet(tmp_path / "m.parquet")
    table = read_manifest(tmp_path / "m.parquet")
    assert table["label"].tolist() == ["3", "", "0"]
    assert table["class_name"].tolist() == ["run", "", "jump"]
    assert list(table.columns) == ["video_id", "path", "label", "class_name", "size"]


def test_a_path_that_leaves_the_root_is_left_to_fail_later(place):
    ids = ["../x.mp4", "/etc/passwd", "a/../../b.mp4"]
    assert read_manifest(place.write("m.csv", ["video_id", *ids]))["video_id"].tolist() == ids


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["label,class_name", "1,a"], "needs a column video_id or path"),
        (["path"], "no rows"),
        (["path,path", "a,b"], "two columns named 'path'"),
        (["path", "a", "b", "a"], "rows 1 and 3 have the same video_id 'a'"),
        (["path,label", "a,1", "b,1.0"], "row 2: label '1.0' is not a class number"),
        (["path,label", "a,-1"], "row 1: label '-1' is not a class number"),
        (["path,split1", "a,train", "b,training"], "row 2: split1 'training' is none of train, test, val"),
        (["path,label", "a,1", ",1"], "row 2: video_id '' is empty"),
        (["video_id,path", "a,"], "row 1: path '' is empty"),
        (["path", "a", '"b\nc"'], r"row 2: video_id 'b\\nc' has control characters"),
        (["path,note", "a,\x1b[2J"], "row 1: note .* has control characters"),
        (["path,no\x00te", "a,b"], "column name .* has control characters"),
    ],
)
def test_a_bad_csv_manifest_is_refused_with_its_name_and_row(place, lines, message):
    path = place.write("m.csv", lines)
    with pytest.raises(UserError, match=message) as refused:
        read_manifest(path)
    assert str(refused.value).startswith(f"{path}")


def test_names_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"path\na.mp4\ncaf\xe9.mp4\n")
    with pytest.raises(UserError, match="line 3: not UTF-8"):
        read_manifest(tmp_path / "m.csv")
    texts = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"], pa.binary()).buffers())
    pq.write_table(pa.table({"path": texts}), tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"m\.parquet: not a Parquet table of text"):
        read_manifest(tmp_path / "m.parquet")
    table = a_table().astype(object)
    table.loc[1, "path"] = os.fsdecode(b"caf\xe9.mp4")
    with pytest.raises(UserError, match=r"row 2: path .* is not UTF-8"):
        check_manifest(table)


def test_what_is_no_parquet_file_of_texts_is_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("path\na.mp4\n")
    pq.write_table(pa.table({"path": [["a.mp4"], []]}), tmp_path / "lists.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["path"] * 2), tmp_path / "twice.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for name in ("text", "lists", "twice", "folder", "nothing"):
        with pytest.raises(UserError, match=rf"{name}\.parquet"):
            read_manifest(tmp_path / f"{name}.parquet")


@pytest.mark.parametrize("name", ["manifest", "manifest.txt", "manifest.csv.gz"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"\.csv or \.parquet"):
        write_manifest(a_table(), tmp_path / name)
    with pytest.raises(UserError, match=r"\.csv or \.parquet"):
        read_manifest(tmp_path / name)


@ENDINGS
def test_a_bad_table_leaves_the_old_manifest_alone(tmp_path, ending):
    path = tmp_path / f"m.{ending}"
    write_manifest(a_table(), path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="row 1: split1 'maybe'"):
        write_manifest(a_table(split1=["maybe", ""]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@ENDINGS
def test_a_manifest_is_put_in_place_of_the_old_one_not_written_over_it(tmp_path, ending):
    path, old = tmp_path / f"m.{ending}", tmp_path / f"old.{ending}"
    write_manifest(a_table(), path)
    os.link(path, old)  # as a reader that has the old one open
    write_manifest(a_table(split1=["train", "val"]), path)
    assert split_columns(read_manifest(path)) == ["split1"]
    assert split_columns(read_manifest(old)) == []


@ENDINGS
def test_where_nothing_can_be_written_nothing_is_left(tmp_path, ending):
    (tmp_path / f"taken.{ending}").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / f"taken.{ending}", tmp_path / "file" / f"m.{ending}"):
        with pytest.raises(UserError, match="cannot write"):
            write_manifest(a_table(), path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"taken.{ending}"]


@ENDINGS
def test_the_same_table_gives_the_same_bytes(tmp_path, ending):
    for name in ("one", "two"):
        write_manifest(a_table(split1=["train", "val"]), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_reading_time_grows_no_faster_than_the_manifest(tmp_path):
    seconds = {}
    for rows in (4_000, 40_000):
        ids = [f"class/{number:08d}.mp4" for number in np.random.default_rng(0).permutation(rows)]
        write_manifest(build_table({"video_id": ids}), tmp_path / "m.csv")
        start = time.perf_counter()
        read_manifest(tmp_path / "m.csv")
        seconds[rows] = time.perf_counter() - start
    assert seconds[40_000] < 40 * max(seconds[4_000], 0.01)  # 10 times the rows; 100 times if it were quadratic


@pytest.mark.parametrize("name", [b"videos", "日本 clips".encode(), b"vid\xe9os"])
def test_the_root_is_found_again_whatever_its_name(tmp_path, name):
    (tmp_path / "lists").mkdir()
    for parent in (tmp_path, tmp_path / "lists"):
        folder = parent / os.fsdecode(name)
        folder.mkdir()
        manifest = tmp_path / "lists" / "m.csv"
        record_root(manifest, folder)
        assert root_of(manifest) == folder

"""Whatever lies in a cache's small files: it is read as what it is, or told in a line; never another error."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.index import build_index, read_index, write_index
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout, motion_stage
from s2vc.pipeline.cache.receipts import FAILED, OK, PARTIAL, Receipt, VideoRecord, is_done, read_receipt
from s2vc.pipeline.cache.settings import Settings, read_settings, read_software
from s2vc.pipeline.variants import Variant

ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MADE = Settings((128, 171), 95, 1, 16, "default", "0" * 64, "float32", (2,))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([-1, 10**30, "", "../../etc/passwd", "/etc/passwd", "ok", "0" * 64, "\x1b[2J", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)


@st.composite
def records(draw: st.DrawFn) -> VideoRecord:
    status = draw(st.sampled_from([OK, PARTIAL, FAILED]))
    return VideoRecord(
        draw(NAMES),
        status,
        "" if status == OK else draw(NAMES),
        0 if status == FAILED else draw(st.integers(1, 10_000)),
        draw(st.integers(0, 2**50)),
        draw(SHA256 | st.just("")),
        *draw(st.tuples(st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(["", "25", "30000/1001"]))),
    )


def receipts(stage: str) -> st.SearchStrategy[Receipt]:
    hashes = st.dictionaries(NAMES, SHA256, max_size=3)
    written = st.dictionaries(NAMES.map(lambda name: f"frames/of-{name.replace('/', '-')}"), SHA256, max_size=3)
    return st.builds(Receipt, st.just(stage), st.just(0), st.lists(records(), max_size=3), hashes, written)


def fields_of(path: Path) -> list[tuple[Any, ...]]:
    """Where the values of a JSON file are: every path of keys into it."""

    def below(value: Any, at: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [at, *(place for key, inner in pairs for place in below(inner, (*at, key)))]

    return below(json.loads(path.read_text()), ())


def replace_at(path: Path, place: tuple[Any, ...], value: Any) -> None:
    """One value of a JSON file is another."""
    content = json.loads(path.read_text())
    if not place:
        content = value
    else:
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    path.write_text(json.dumps(content))


@ANY
@given(receipt=receipts(INGEST))
def test_a_receipt_comes_back_as_it_was_written(tmp_path: Path, receipt: Receipt) -> None:
    receipt.write(Layout(tmp_path))
    assert read_receipt(Layout(tmp_path), INGEST, 0) == receipt


@ANY
@given(data=st.data(), stage=st.sampled_from([INGEST, ENCODE, motion_stage(Variant(alpha=0.5))]))
def test_a_receipt_with_any_value_anywhere_is_one_or_none(tmp_path: Path, data: st.DataObject, stage: str) -> None:
    """And where it is one, a job can go on with it: types and bounds are what the rest of the program relies on."""
    layout, receipt = Layout(tmp_path), data.draw(receipts(stage))
    receipt.write(layout)
    path = layout.receipt(stage, 0)
    replace_at(path, data.draw(st.sampled_from(fields_of(path))), data.draw(JSON))
    found = read_receipt(layout, stage, 0)
    is_done(layout, stage, 0, receipt)
    is_done(layout, stage, 0, None)
    if found is None:
        return
    assert (found.stage, found.shard) == (stage, 0)
    for video in found.videos:
        assert 0 <= video.frames <= 10_000_000
        assert (video.video_id + video.status + video.reason + video.sha256 + video.fps).isprintable() or not any(
            c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in video.reason + video.video_id
        )
    manifest = pd.DataFrame({"video_id": [f"{n}" for n in range(len(found.videos))], "label": "", "class_name": ""})
    if len(manifest):
        made = Settings((16, 16), 95, 1, len(manifest), "", "", "float32", (len(manifest),))
        write_index(LocalStorage(tmp_path), build_index(manifest, made, {0: found}))
        assert read_index(LocalStorage(tmp_path))["frames"].tolist() == [v.frames for v in found.videos]


@ANY
@given(data=st.data())
def test_cache_json_with_any_value_anywhere_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    from s2vc.pipeline.cache.settings import write_settings

    storage, path = LocalStorage(tmp_path), Layout(tmp_path).settings
    write_settings(storage, MADE, {"torch": "2"})
    replace_at(path, data.draw(st.sampled_from(fields_of(path))), data.draw(JSON))
    try:
        made = read_settings(storage)
    except UserError:
        return
    assert sum(map(len, made.shards())) == made.rows
    assert all(isinstance(v, str) for v in read_software(storage).values())


@ANY
@given(text=st.text(st.characters(codec="utf-8"), max_size=60) | st.from_regex(r"\A(alpha|keep)[0-9.]{1,9}-.*\Z"))
def test_any_text_is_the_name_of_a_variant_or_none(text: str) -> None:
    try:
        variant = Variant.parse(text)
    except ValueError:
        return
    assert variant.name.isascii()
    assert "/" not in variant.name
    assert Variant.parse(variant.name) == variant
    assert Variant.parse(variant.name).name == variant.name


@pytest.mark.parametrize("name", [f"alpha0.{'0' * 300}1-zero-video", f"alpha0.5-noise-video-seed{'9' * 300}"])
def test_a_name_too_long_for_a_folder_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        Variant.parse(name)


@ANY
@given(data=st.data())
def test_variant_json_with_any_value_anywhere_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "variant.json"
    path.write_text(json.dumps(Variant(alpha=0.5).to_json()))
    replace_at(path, data.draw(st.sampled_from(fields_of(path))), data.draw(JSON))
    try:
        variant = Variant.from_json(json.loads(path.read_text()))
    except (ValueError, TypeError, AttributeError, OverflowError):  # what `verify` takes for no variant
        return
    assert variant == Variant.parse(variant.name)


@ANY
@given(text=st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_is_an_index_or_refused(tmp_path: Path, text: str) -> None:
    header = "video_id,label,class_name,shard,first_frame,frames,status,reason\n"
    for content in (text, header + text, header + f"{text},1,c,0,0,3,ok,\n"):
        Layout(tmp_path).index.write_text(content, encoding="utf-8")
        try:
            index = read_index(LocalStorage(tmp_path))
        except UserError:
            continue
        assert all(index[c].dtype == "int64" for c in ("shard", "first_frame", "frames"))


@ANY
@given(rows=st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=5, unique_by=lambda row: row[0]))
def test_ids_come_back_from_the_index_as_they_are(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Formulas of spreadsheets, quotes, spaces and what looks like a number included: nothing is escaped."""
    ids, classes, splits = (list(column) for column in zip(*[*rows, *EXTRA], strict=True))
    manifest = pd.DataFrame({"video_id": ids, "label": "", "class_name": classes, "split1": splits})
    made = Settings((16, 16), 95, 1, 4, "", "", "float32", (len(ids),))
    write_index(LocalStorage(tmp_path), build_index(manifest, made, {}))
    index = read_index(LocalStorage(tmp_path))
    assert index["video_id"].tolist() == ids
    assert index["class_name"].tolist() == classes


EXTRA = [
    (text, text, "") for text in ("=1+1", "+1", "-1", "@SUM(A1)", "00123", "NA", "null", "1e5", ' "quoted" ', "a,b")
]

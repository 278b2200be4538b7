"""cache.json, receipts and index from strangers: a sentence, never a traceback."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.receipts import Receipt, VideoRecord, is_done, read_receipt
from s2vc.pipeline.cache.settings import Settings, read_settings, write_settings

MADE = Settings((128, 171), 95, 1, 16, "default", "0" * 64, "float32", (30, 12))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", ["float32", "float16", "q8"])
def test_settings_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    made = replace(MADE, latents=kind)
    write_settings(LocalStorage(tmp_path), made, {"torch": "2"})
    assert read_settings(LocalStorage(tmp_path)) == made


def test_version_1_is_written_as_ever_and_read_as_float16(tmp_path: Path) -> None:
    """Programs that know version 1 alone take z for float16."""
    write_settings(LocalStorage(tmp_path), MADE, {})
    content = json.loads(Layout(tmp_path).settings.read_text())
    assert content["format_version"] == 1 and "latents" not in content
    Layout(tmp_path).settings.write_text(json.dumps(content | {"latents": "q8"}))
    assert read_settings(LocalStorage(tmp_path)).latents == "float16"


@pytest.mark.parametrize("change", [{"latents": "q9"}, {"latents": ["q8"]}, {"format_version": 3}])
def test_latents_of_no_known_kind_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write_settings(LocalStorage(tmp_path), replace(MADE, latents="q8"), {})
    content = json.loads(Layout(tmp_path).settings.read_text())
    Layout(tmp_path).settings.write_text(json.dumps(content | change))
    with pytest.raises(UserError, match=r"damaged|cannot read"):
        read_settings(LocalStorage(tmp_path))


def test_shards_are_cut_within_the_rows_of_each_growth() -> None:
    assert MADE.shards() == [range(16), range(16, 30), range(30, 42)]
    assert MADE.grown_to(42) == MADE
    assert MADE.grown_to(43).shards()[:3] == MADE.shards()


@given(
    field=st.sampled_from(["format_version", "frame_size", "segments", "shard_size", "precision", "latents"]),
    value=JSON,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_cache_json_is_read_or_refused(tmp_path: Path, field: str, value: Any) -> None:
    write_settings(LocalStorage(tmp_path), replace(MADE, latents="q8"), {})
    content = json.loads(Layout(tmp_path).settings.read_text())
    Layout(tmp_path).settings.write_text(json.dumps(content | {field: value}))
    try:
        made = read_settings(LocalStorage(tmp_path))
    except UserError:
        return
    assert sum(len(rows) for rows in made.shards()) == made.rows


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, '{"format_version": 2}', "\udcff"])
def test_what_is_no_cache_json_is_one_line_and_code_2(text: str, tmp_path: Path, cli: Callable[..., Result]) -> None:
    (tmp_path / "cache.json").write_text(text, errors="surrogateescape")
    result = cli("render", tmp_path, "--alpha", "0.5")
    assert result.exit_code == 2
    assert result.output.startswith("s2vc-prep: ")
    assert result.output.strip().count("\n") == 0


@given(JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_receipt_means_not_done(tmp_path: Path, content: Any) -> None:
    path = Layout(tmp_path).receipt("ingest", 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    assert read_receipt(Layout(tmp_path), "ingest", 0) is None


def test_a_receipt_counts_only_with_the_inputs_it_was_made_from(tmp_path: Path) -> None:
    layout, videos = Layout(tmp_path), [VideoRecord("a.mp4", "ok", frames=3)]
    one, other = "1" * 64, "2" * 64
    before = Receipt("ingest", 0, videos, {}, {"small/00000.h5": one})
    for inputs, done in (({"small/00000.h5": one}, True), ({"small/00000.h5": other}, False), ({}, False)):
        Receipt("encode", 0, videos, inputs, {}).write(layout)
        assert (is_done(layout, "encode", 0, before) is not None) == done
    assert is_done(layout, "encode", 0, None) is None
    Receipt("encode", 0, videos * 2, {"small/00000.h5": one}, {}).write(layout)
    assert is_done(layout, "encode", 0, before) is None, "of other videos"

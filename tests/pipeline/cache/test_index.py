"""index.csv keeps what a manifest says of its videos, and takes nothing over that would stand in for its own."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import build_table
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.index import build_index, known_video_ids, read_index, write_index
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.object_store import StoreError

OWN = ["shard", "first_frame", "frames", "status", "reason"]


def settings(rows: int) -> Settings:
    return Settings((64, 80), 95, 1, 4, "default", "0", "float32", (rows,))


def manifest(**more: list[str]) -> pd.DataFrame:
    return build_table({"video_id": ["a.mp4", "b.mp4"], "class_name": ["run", ""], "split1": ["train", "test"], **more})


def test_further_columns_stand_between_the_splits_and_the_shard() -> None:
    index = build_index(manifest(scene=["sea", "NA"], split_far=["test", ""], note=["", 'a "b", c']), settings(2), {})
    usual = ["video_id", "label", "class_name", "split1", "split_far"]
    assert list(index.columns) == [*usual, "scene", "note", *OWN]


def test_they_are_read_back_as_text_and_written_again_as_they_were(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    index = build_index(manifest(scene=["sea", "NA"], note=["007", 'a "b", c']), settings(2), {})
    write_index(storage, index)
    before = storage.layout.index.read_bytes()
    again = read_index(storage)
    assert again["scene"].tolist() == ["sea", "NA"] and again["note"].tolist() == ["007", 'a "b", c']
    write_index(storage, build_index(again, settings(2), {}))  # an index stands in for the manifest in repairs
    assert storage.layout.index.read_bytes() == before


def test_columns_of_the_caches_own_names_are_left_out() -> None:
    index = build_index(manifest(frames=["9", "9"], status=["fine", "fine"], scene=["sea", "ice"]), settings(2), {})
    assert list(index.columns) == ["video_id", "label", "class_name", "split1", "scene", *OWN]
    assert index["frames"].tolist() == [0, 0] and index["status"].tolist() == ["", ""]


def test_without_further_columns_it_has_the_bytes_it_always_had(tmp_path: Path) -> None:
    write_index(LocalStorage(tmp_path), build_index(manifest(), settings(2), {}))
    assert LocalStorage(tmp_path).layout.index.read_text() == (
        "video_id,label,class_name,split1,shard,first_frame,frames,status,reason\n"
        "a.mp4,0,run,train,0,0,0,,\n"
        "b.mp4,,,test,0,0,0,,\n"
    )


def test_a_cache_gets_columns_by_encoding_with_another_manifest(
    cache_path: Path, videos: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    shutil.copytree(cache_path, tmp_path / "cache")
    rows = (videos / "manifest.csv").read_text().splitlines()
    more = [rows[0] + ",scene", *(row + ",sea" for row in rows[1:])]
    (tmp_path / "m.csv").write_text("\n".join(more) + "\n")
    before = read_index(LocalStorage(tmp_path / "cache"))
    result = cli("encode", tmp_path / "m.csv", "--root", videos, "--out", tmp_path / "cache")
    assert result.exit_code == 3 and "0 videos to do" in result.output, result.output
    after = read_index(LocalStorage(tmp_path / "cache"))
    assert set(after.pop("scene")) == {"sea"} and after.equals(before)
    assert cli("verify", tmp_path / "cache").exit_code == 0


def test_a_lost_index_is_written_anew_and_only_for_the_manifest_of_the_cache(
    cache_path: Path, videos: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    cache = Path(shutil.copytree(cache_path, tmp_path / "cache"))
    before = (cache / "index.csv").read_bytes()
    (cache / "index.csv").unlink()
    said = cli("verify", cache, "--sources", videos / "manifest.csv")
    assert said.exit_code == 1 and "run `s2vc-prep encode` with its manifest again" in said.output
    head, first, second, *rest = (videos / "manifest.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join([head, second, first, *rest]) + "\n")
    refused = cli("encode", tmp_path / "other.csv", "--root", videos, "--out", cache)
    assert refused.exit_code == 2 and "is not the one" in refused.output and "row 1 is" in refused.output
    assert not (cache / "index.csv").exists()
    again = cli("encode", videos / "manifest.csv", "--root", videos, "--out", cache)
    assert again.exit_code == 3 and "0 videos to do" in again.output, again.output
    assert (cache / "index.csv").read_bytes() == before
    (cache / "index.csv").write_bytes(before[: len(before) // 2].rsplit(b",", 3)[0])
    assert cli("encode", videos / "manifest.csv", "--root", videos, "--out", cache).exit_code == 3
    assert (cache / "index.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("where", "name", "failure"),
    [(files, "read_text", OSError(errno.EIO, "Input/output error")), (LocalStorage, "fetch", StoreError("no answer"))],
)
def test_an_index_that_failing_storage_does_not_give_is_not_lost(
    where: object, name: str, failure: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> str:
        raise failure

    monkeypatch.setattr(where, name, fail)
    with pytest.raises(UserError):
        known_video_ids(LocalStorage(tmp_path), settings(2))

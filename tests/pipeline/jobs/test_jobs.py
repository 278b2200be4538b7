"""The jobs over a whole cache: same bytes however they are run, going on, growing, and refusing what does not fit."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from s2vc.manifests.table import root_of
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.lock import without_writers
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.flow import fingerprint, load_flow, save_flow
from s2vc.pipeline.stages.encode_shard import encode_shard
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from s2vc.pipeline.variants import Variant
from tests.conftest import FRAME_SIZE
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree

Prep = Callable[..., Result]
SIZE = "x".join(map(str, FRAME_SIZE))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five short videos."""
    folder = tmp_path_factory.mktemp("few")
    for number in range(5):
        write_clip(folder / f"class{number % 2}" / f"{number}.mp4", moving_square(6 + number, seed=number))
    return folder


def manifest(folder: Path, path: Path, rows: int = 5, label: str = "0", missing: bool = False) -> Path:
    lines = ["video_id,label,class_name,split1"]
    lines += [f"class{n % 2}/{n}.mp4,{label},name{label},train" for n in range(rows)]
    if missing:
        lines.insert(2, "class0/late.mp4,0,name0,train")
    path.write_text("\n".join(lines) + "\n")
    return path


def encode(cli: Prep, table: Path, root: Path, out: Path, *more: object) -> Result:
    """In float32, so that tolerances, and what is refused, are the same on every machine."""
    options = ("--size", SIZE, "--precision", "float32", "--shard-size", 2, *more)
    return cli("encode", table, "--root", root, "--out", out, *options)


@pytest.fixture(scope="module")
def made(few: Path, cli: Prep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the five videos in three shards, alpha 0.5 rendered; copied before it is changed."""
    folder = tmp_path_factory.mktemp("made")
    result = encode(cli, manifest(few, folder / "m.csv"), few, folder / "cache")
    assert result.exit_code == 0, result.output
    assert cli("render", folder / "cache", "--alpha", "0.5").exit_code == 0
    return folder


def copy_of(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "cache", tmp_path / "cache")
    return tmp_path / "cache"


def test_the_number_of_workers_changes_no_byte(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    assert encode(cli, made / "m.csv", few, tmp_path / "one", "--workers", 1).exit_code == 0
    assert cli("render", tmp_path / "one", "--alpha", "0.5", "--workers", 1).exit_code == 0
    assert tree(tmp_path / "one") == tree(made / "cache")


def test_another_shard_size_changes_rounding_only(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    assert encode(cli, made / "m.csv", few, tmp_path / "c", "--shard-size", 5).exit_code == 0
    one, other = Cache(tmp_path / "c"), Cache(made / "cache")
    for video_id in one.index["video_id"]:
        np.testing.assert_array_equal(one.frames(video_id), other.frames(video_id))
        np.testing.assert_array_equal(one.small(video_id), other.small(video_id))
        np.testing.assert_allclose(one.latents(video_id), other.latents(video_id), rtol=2**-9, atol=1e-3)
        np.testing.assert_allclose(one.std(video_id), other.std(video_id), atol=1e-5)


def test_a_published_checkpoint_gives_the_same_cache_as_its_converted_copy(
    few: Path, cli: Prep, shared: Path, tmp_path: Path
) -> None:
    published = tmp_path / "a" / "flow.pt"
    published.parent.mkdir()
    shutil.copy(shared / "weights" / "advflow-small.pt", published)
    converted = tmp_path / "flow.safetensors"
    save_flow(load_flow(published), converted)
    table = manifest(few, tmp_path / "m.csv", rows=2)
    for flow, out in ((published, "one"), (converted, "other")):
        assert encode(cli, table, few, tmp_path / out, "--flow", flow).exit_code == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "other")


def test_run_again_it_does_nothing_again(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    cache = copy_of(made, tmp_path)
    stores = [p for p in cache.rglob("*") if p.is_file() and p.name not in ("cache.json", "index.csv", ".lock")]
    before = {p: p.stat().st_mtime_ns for p in stores}
    result = encode(cli, made / "m.csv", few, cache)
    assert result.exit_code == 0
    assert "0 videos to do in 0 shards, 5 done before" in result.output
    assert {p: p.stat().st_mtime_ns for p in stores} == before


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (["--size", "64x64"], "--size is 72x98 there, 64x64 here"),
        (["--shard-size", "4"], "--shard-size is 2 there, 4 here"),
        (["--frame-step", "2"], "--frame-step is 1 there, 2 here"),
        (["--precision", "bfloat16"], "--precision is float32 there, bfloat16 here"),
        (["--precision", "bfloat16-centred"], "--precision is float32 there, bfloat16-centred here"),
    ],
)
def test_other_settings_are_refused_with_what_differs(
    few: Path, made: Path, cli: Prep, tmp_path: Path, option: list[str], word: str
) -> None:
    cache = copy_of(made, tmp_path)
    before = tree(cache)
    result = cli("encode", made / "m.csv", "--root", few, "--out", cache, *option)
    assert result.exit_code == 2
    assert word in result.output
    assert result.output.strip().count("\n") == 0
    assert tree(cache) == before


def test_another_flow_is_refused(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    flow = load_flow("default")
    with torch.no_grad():
        next(flow.parameters()).add_(0.01)
    save_flow(flow, tmp_path / "other.safetensors")
    assert fingerprint(flow) != fingerprint(load_flow("default"))
    result = encode(cli, made / "m.csv", few, copy_of(made, tmp_path), "--flow", tmp_path / "other.safetensors")
    assert result.exit_code == 2
    assert "another flow" in result.output


def test_a_changed_manifest_is_refused_with_the_row_that_differs(
    few: Path, made: Path, cli: Prep, tmp_path: Path
) -> None:
    cache = copy_of(made, tmp_path)
    rows = (made / "m.csv").read_text().splitlines()
    rows[2], rows[3] = rows[3], rows[2]
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    result = encode(cli, tmp_path / "m.csv", few, cache)
    assert result.exit_code == 2
    assert "row 2 is 'class0/2.mp4', in the cache it is 'class1/1.mp4'" in result.output
    (tmp_path / "m.csv").write_text("\n".join(rows[:4]) + "\n")
    assert encode(cli, tmp_path / "m.csv", few, cache).exit_code == 2


def test_rows_appended_become_new_shards_and_old_ones_stay(few: Path, cli: Prep, tmp_path: Path) -> None:
    table, cache = tmp_path / "m.csv", tmp_path / "cache"
    manifest(few, table, rows=3)
    assert encode(cli, table, few, cache).exit_code == 0
    before = {k: v for k, v in tree(cache).items() if "0000" in k}
    manifest(few, table, rows=5)
    result = encode(cli, table, few, cache)
    assert result.exit_code == 0
    assert "2 videos to do in 1 shard, 3 done before" in result.output
    after = tree(cache)
    assert {k: after[k] for k in before} == before
    assert Cache(cache).index["shard"].tolist() == [0, 0, 1, 2, 2]
    assert Cache(cache).latents("class0/4.mp4").shape[0] == 10


def test_labels_can_be_replaced(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    cache = copy_of(made, tmp_path)
    result = encode(cli, manifest(few, tmp_path / "m.csv", label="7"), few, cache)
    assert "0 videos to do" in result.output
    assert set(Cache(cache).index["label"]) == {7}


def test_retry_failed_redoes_only_shards_with_failed_rows(few: Path, cli: Prep, tmp_path: Path) -> None:
    root, cache = tmp_path / "videos", tmp_path / "cache"
    shutil.copytree(few, root)
    table = manifest(few, tmp_path / "m.csv", missing=True)
    assert encode(cli, table, root, cache).exit_code == 3
    assert cli("render", cache, "--alpha", "0.5").exit_code == 0
    assert encode(cli, table, root, cache).exit_code == 3, "a failed row stays failed until it is asked for"
    before = tree(cache)
    write_clip(root / "class0" / "late.mp4", moving_square(7))
    result = encode(cli, table, root, cache, "--retry-failed")
    assert result.exit_code == 0, result.output
    assert "2 videos to do in 1 shard" in result.output
    index = Cache(cache).index
    assert index["status"].tolist() == ["ok"] * 6
    after = tree(cache)
    assert {k for k in after if after[k] != before.get(k) and "frames/" in k} == {"frames/00000.h5"}
    assert not list(cache.glob("motion/*/00000.h5")), "what was rendered from replaced latents is gone"
    assert cli("render", cache, "--alpha", "0.5").exit_code == 0
    assert Cache(cache).motion_preserved("class0/late.mp4", "alpha0.5-zero-video").shape[0] == 7


def test_a_file_that_has_appeared_is_done_without_being_asked_for(few: Path, cli: Prep, tmp_path: Path) -> None:
    root, cache = tmp_path / "videos", tmp_path / "cache"
    shutil.copytree(few, root)
    table = manifest(few, tmp_path / "m.csv", missing=True)
    result = encode(cli, table, root, cache)
    assert result.exit_code == 3
    assert "--retry failed" in result.output
    write_clip(root / "class0" / "late.mp4", moving_square(7))
    result = encode(cli, table, root, cache)
    assert result.exit_code == 0, result.output
    assert "2 videos to do in 1 shard, 4 done before" in result.output
    assert Cache(cache).index["status"].tolist() == ["ok"] * 6


def test_a_root_without_any_of_the_videos_is_refused_before_anything_is_written(
    few: Path, cli: Prep, tmp_path: Path
) -> None:
    table = manifest(few, tmp_path / "m.csv")
    result = encode(cli, table, tmp_path, tmp_path / "cache")
    assert result.exit_code == 2
    assert "none of the videos, 5 in all, is in" in result.output and "--root" in result.output
    assert not (tmp_path / "cache").exists()
    assert encode(cli, table, few, tmp_path / "cache").exit_code == 0, "the corrected command has everything to do"


def test_a_manifest_remembers_the_folder_that_it_read(few: Path, cli: Prep, tmp_path: Path) -> None:
    table, cache = tmp_path / "lists" / "m.csv", tmp_path / "cache"
    result = cli("manifest", "folder", few, "--out", table)
    assert result.output.splitlines()[-1] == f"Next: s2vc-prep encode {table} --out CACHE"
    result = cli("encode", table, "--out", cache, "--size", SIZE, "--precision", "float32")
    assert result.exit_code == 0, result.output
    assert Cache(cache).index["status"].tolist() == ["ok"] * 5
    assert cli("verify", cache, "--sources", table).exit_code == 0


def test_a_manifest_above_its_videos_may_be_moved_with_them(few: Path, cli: Prep, tmp_path: Path) -> None:
    shutil.copytree(few, tmp_path / "here" / "clips")
    assert cli("manifest", "folder", tmp_path / "here" / "clips", "--out", tmp_path / "here" / "m.csv").exit_code == 0
    (tmp_path / "here").rename(tmp_path / "there")
    assert root_of(tmp_path / "there" / "m.csv") == tmp_path / "there" / "clips"
    (tmp_path / "there" / "clips").rename(tmp_path / "elsewhere")
    assert root_of(tmp_path / "there" / "m.csv") == tmp_path / "there", (
        "without the folder, the manifest's own is meant"
    )


def test_renderings_of_replaced_latents_go_before_the_new_ones_count(made: Path, tmp_path: Path) -> None:
    """Whoever kills the job after that finds no old rendering beside new latents."""
    cache = copy_of(made, tmp_path)
    rendering, receipt = (f"{p}/alpha0.5-zero-video/00000" for p in ("motion", "receipts/motion"))
    layout, settings = Layout(cache), read_settings(LocalStorage(cache))
    encode_shard(layout, replace(settings, precision="bfloat16"), 0, "cpu")
    assert not (cache / f"{rendering}.h5").exists() and not (cache / f"{receipt}.json").exists()
    assert (cache / "motion/alpha0.5-zero-video/00001.h5").exists()
    # Latents that come out the same keep theirs.
    (cache / "receipts/encode/00001.json").unlink()
    encode_shard(layout, settings, 1, "cpu")
    assert (cache / "motion/alpha0.5-zero-video/00001.h5").exists()


@pytest.mark.parametrize("lost", [[], ["encode"]])
def test_what_was_made_of_replaced_frames_goes_before_the_new_ones_count(
    few: Path, made: Path, tmp_path: Path, lost: list[str]
) -> None:
    cache = copy_of(made, tmp_path)
    changed = tmp_path / "videos"
    shutil.copytree(few, changed)
    for stage in ("ingest", *lost):
        (cache / f"receipts/{stage}/00000.json").unlink()
    names = [f"{p}/alpha0.5-zero-video/00000{s}" for p, s in (("motion", ".h5"), ("receipts/motion", ".json"))]
    names += [] if lost else ["latents.zarr/00000", "receipts/encode/00000.json"]
    layout, settings = Layout(cache), read_settings(LocalStorage(cache))
    sources = [Source("class0/0.mp4", "class0/0.mp4"), Source("class1/1.mp4", "class1/1.mp4")]
    ingest_shard(layout, settings, 0, sources, changed)
    assert all((cache / name).exists() for name in names), "frames that come out the same keep what was made of them"
    write_clip(changed / "class0" / "0.mp4", moving_square(9, seed=77))
    ingest_shard(layout, settings, 0, sources, changed)
    assert not any((cache / name).exists() for name in names)
    assert (cache / "motion/alpha0.5-zero-video/00001.h5").exists()


def test_a_name_that_no_file_can_have_fails_alone_also_in_the_first_row(few: Path, cli: Prep, tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text("\n".join(["video_id", "x" * 300 + ".mp4", "class0/0.mp4"]) + "\n")
    result = encode(cli, table, few, tmp_path / "cache")
    assert result.exit_code == 3, result.output
    assert Cache(tmp_path / "cache").index["status"].tolist() == ["failed", "ok"]


def test_a_damaged_shard_is_left_and_the_others_are_rendered(made: Path, cli: Prep, tmp_path: Path) -> None:
    """One file that cannot be read is no failing storage, at which a job stops."""
    cache = copy_of(made, tmp_path)
    small = cache / "small/00000.h5"
    content = bytearray(small.read_bytes())
    content[-1000] ^= 1  # in the last chunk of the frames
    small.write_bytes(content)
    (cache / "small/00001.h5").unlink()
    result = cli("render", cache, "--alpha", "0.3", "--workers", "1")
    assert result.exit_code == 1 and "storage fails" not in result.output
    assert result.output.count("`s2vc-prep verify` says what is damaged") == 2
    assert "shard 0 is not done" in result.output and "shard 1 is not done" in result.output
    assert Cache(cache).unrendered_shards(Variant(alpha=0.3)) == [0, 1]


def test_a_second_job_on_a_cache_in_use_is_refused(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    cache = copy_of(made, tmp_path)
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print(1, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, cache / ".lock"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        for result in (encode(cli, made / "m.csv", few, cache), cli("render", cache, "--alpha", "0.3")):
            assert result.exit_code == 2
            assert "in use" in result.output
    finally:
        holder.kill()
        holder.wait()


def test_a_job_beside_a_check_is_told_of_the_check(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    """The lock's file names the last job that wrote, which has ended."""
    cache = copy_of(made, tmp_path)
    with without_writers(LocalStorage(cache)):
        result = encode(cli, made / "m.csv", few, cache)
    assert result.exit_code == 2 and "is being read by `s2vc-prep verify`; wait for it" in result.output


def test_mistakes_get_one_line_and_code_2(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    table = made / "m.csv"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    (tmp_path / "empty.csv").write_text("video_id\n")
    mistakes = {
        "is no cache and not empty": encode(cli, table, few, tmp_path / "full"),
        "no folder": encode(cli, table, tmp_path / "nowhere", tmp_path / "c"),
        "empty.csv": encode(cli, tmp_path / "empty.csv", few, tmp_path / "c"),
        "no flow at": encode(cli, table, few, tmp_path / "c", "--flow", "nothing.pt"),
        "no cache at": cli("render", tmp_path / "nowhere", "--alpha", "0.5"),
        "HEIGHTxWIDTH": cli("encode", table, "--out", tmp_path / "c", "--size", "big"),
    }
    for message, result in mistakes.items():
        assert result.exit_code == 2, result.output
        assert message in result.output
        assert "Traceback" not in result.output
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"


def test_render_of_a_cache_that_is_not_finished_is_refused(few: Path, made: Path, cli: Prep, tmp_path: Path) -> None:
    cache = copy_of(made, tmp_path)
    (cache / "receipts" / "encode" / "00001.json").unlink()
    result = cli("render", cache, "--alpha", "0.3")
    assert result.exit_code == 2
    assert "not completely encoded" in result.output

"""What strangers put beside the stores: receipts, links, pipes, names of videos, and files that claim to be flows."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file

from s2vc.pipeline.cache.layout import INGEST, Layout
from s2vc.pipeline.cache.receipts import read_receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.flow import FlowFileError, load_flow
from s2vc.pipeline.flow.checkpoints import METADATA_KEY
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from tests.conftest import FRAME_SIZE, VARIANTS
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree
from tests.support.processes import run

Prep = Callable[..., Result]
SIZE = "x".join(map(str, FRAME_SIZE))


@pytest.fixture
def cache(cache_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cache_path, tmp_path / "cache"))


def edit_json(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


RECEIPT = "receipts/ingest/00000.json"


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r["videos"].pop(),
        lambda r: r["videos"][0].update(frames="x"),
        lambda r: r["videos"][0].update(frames=-40),
        lambda r: r["videos"][0].update(frames=10**15),
        lambda r: r["videos"][0].update(fps="1/0"),
        lambda r: r["videos"][0].update(reason="\x1b[2J", status="partial"),
        lambda r: r["videos"][0].update(video_id="\ud800"),
        lambda r: r.update(files={"../../etc/passwd": None}),
        lambda r: r.update(notes=["x"]),
    ],
)
def test_a_shard_whose_receipt_is_forged_is_done_again(
    videos: Path, cache_path: Path, cache: Path, cli: Prep, edit: Callable[[Any], object]
) -> None:
    edit_json(cache / RECEIPT, edit)
    for command in (
        ["render", cache, "--alpha", 0.4],
        ["export", cache, "--variant", "original", "--out", cache / "../x"],
    ):
        refused = cli(*command)
        assert refused.exit_code == 2, refused.output
        assert "not completely encoded" in refused.output
    again = cli("encode", videos / "manifest.csv", "--out", cache, "--size", SIZE, "--shard-size", 4)
    assert again.exit_code == 3, again.output
    assert tree(cache) == tree(cache_path)


def test_files_that_a_receipt_names_outside_the_cache_are_not_touched(cache: Path, cli: Prep, tmp_path: Path) -> None:
    """They are not opened by anybody, not removed by a repair, and told."""
    other = tmp_path / "other.h5"
    other.write_text("mine")
    for name in ("../other.h5", str(other)):
        edit_json(cache / "receipts/encode/00000.json", lambda r, name=name: r["files"].update({name: "0" * 64}))  # type: ignore[misc]
    result = cli("verify", cache, "--repair")
    assert "names ../other.h5, which is no file of this shard" in result.output
    assert other.read_text() == "mine"
    assert cli("verify", cache).exit_code == 0, "the receipt was made anew"


def huge(path: Path) -> None:
    """70 MB of a list, of which the disk holds nothing."""
    path.unlink()
    with path.open("wb") as file:
        file.truncate(70 << 20)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def nested(path: Path) -> None:
    path.write_text("[" * 1_000_000)


@pytest.mark.parametrize("change", [huge, endless, pipe, nested])
@pytest.mark.parametrize("name", [RECEIPT, "cache.json", "index.csv", f"motion/{VARIANTS[0]}/variant.json"])
def test_small_files_that_have_no_end_are_not_waited_for(cache: Path, cli: Prep, name: str, change: Any) -> None:
    if name == "index.csv" and change in (huge, nested):
        pytest.skip("70 MB are a large index, and brackets an odd one")
    change(cache / name)
    result = cli("verify", cache, "--quick")
    assert result.exit_code == 1
    assert any(line.startswith(f"{name}: ") for line in result.output.splitlines())
    if "variant" not in name:
        result = cli("info", cache) if name == "index.csv" else cli("render", cache, "--alpha", 0.4)
        assert result.exit_code == 2
        assert result.output.strip().count("\n") == 0


@pytest.mark.parametrize(
    "folder", ["frames", "receipts", f"receipts/motion/{VARIANTS[0]}", f"motion/{VARIANTS[0]}", "motion"]
)
def test_no_job_writes_through_a_link_that_leads_out(
    videos: Path, cache: Path, cli: Prep, tmp_path: Path, folder: str
) -> None:
    """A user's other cache, put where this one's folder was: nothing there is written, or removed."""
    other = tmp_path / "other"
    shutil.move(cache / folder, other)
    (other / "left.attempt-1-0123abcd").write_text("somebody's work")
    (cache / folder).symlink_to(other)
    before = tree(other)
    for command in (
        ["encode", videos / "manifest.csv", "--out", cache],
        ["render", cache, "--alpha", 0.5],
        ["verify", cache, "--repair", "--sources", videos / "manifest.csv"],
    ):
        result = cli(*command)
        assert result.exit_code in (1, 2)
        assert f"{folder} is a link that leads out" in result.output or f"{folder}: is a link" in result.output
    assert tree(other) == before


def test_a_link_within_the_cache_is_nobodys_harm(cache: Path, cli: Prep) -> None:
    shutil.move(cache / "small", cache / "elsewhere")
    (cache / "small").symlink_to("elsewhere")
    assert cli("verify", cache).exit_code == 0
    assert cli("render", cache, "--alpha", 0.5).exit_code == 0


def test_a_file_that_is_a_link_out_is_told_and_a_repair_leaves_what_it_points_at(
    cache: Path, cli: Prep, tmp_path: Path, videos: Path
) -> None:
    outside = tmp_path / "outside.h5"
    outside.write_text("mine")
    (cache / "small/00000.h5").unlink()
    (cache / "small/00000.h5").symlink_to(outside)
    result = cli("verify", cache)
    assert "small/00000.h5: is a link that leads out of the cache" in result.output
    result = cli("verify", cache, "--repair", "--sources", videos / "manifest.csv")
    assert result.exit_code == 0, result.output
    assert outside.read_text() == "mine"
    assert not (cache / "small/00000.h5").is_symlink()


def test_folders_with_foreign_names_among_the_receipts_stop_nobody(videos: Path, cache: Path, cli: Prep) -> None:
    for name in (".DS_Store.d", "alpha0.50-zero-video", "alphaNaN"):
        (cache / "receipts/motion" / name).mkdir()
        (cache / "receipts/motion" / name / "00001.json").write_text("{}")
    (cache / "receipts/encode/00001.json").unlink()
    result = cli("encode", videos / "manifest.csv", "--out", cache)
    assert result.exit_code == 3, result.output
    assert (cache / "receipts/encode/00001.json").exists()


NAMES = [
    "-i.mp4",
    "--help.mp4",
    "http:x.mp4",
    "file:x.mp4",
    "concat:a.mp4|b.mp4",
    "subfile,,start,0,end,9,,:x.mp4",
    "data:video,x.mp4",
    "pipe:0.mp4",
    "crypto:x.mp4",
    "https://example.org/x.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_protocols_and_options_are_names_of_files(name: str, tmp_path: Path) -> None:
    root, settings = tmp_path / "root", Settings((64, 80), 95, 1, 16, "default", "", "float32")
    write_clip(root / "other.mp4", moving_square(3))
    layout = Layout(tmp_path / "out")
    (missing,) = ingest_shard(layout, settings, 0, [Source(name, name)], root).videos
    assert (missing.status, missing.reason) == ("failed", "there is no such file")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "other.mp4", root / name)
    (there,) = ingest_shard(layout, settings, 0, [Source(name, name)], root).videos
    assert (there.status, there.frames) == ("ok", 3)
    assert read_receipt(layout, INGEST, 0) is not None


def test_a_small_file_cannot_claim_a_flow_of_100_gb(tmp_path: Path) -> None:
    """In a process with 16 GB of addresses, which building it would not fit into."""
    largest = {"hidden": 4096, "width": 4096, "high_blocks": 64, "low_blocks": 64, "deep_blocks": 64}
    save_file({"a": torch.zeros(3)}, tmp_path / "flow.safetensors", metadata={METADATA_KEY: json.dumps(largest)})
    with pytest.raises(FlowFileError, match="fewer weights"):
        load_flow(tmp_path / "flow.safetensors")
    code, output = run(["flow-info", tmp_path / "flow.safetensors"])
    assert code == 2
    assert output.count("\n") == 1


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 100_000_001, 0])
def test_a_flow_whose_header_lies_about_its_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "flow.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [9e18], "data_offsets": [0, 4]}}')
    with pytest.raises(FlowFileError):
        load_flow(path)

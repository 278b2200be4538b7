"""`s2vc-prep verify` finds what is wrong with a cache, names the file, and names nothing else."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import simplejpeg
import zarr
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.lock import locked
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.jobs import over_shards
from s2vc.pipeline.verify.verify_cache import check_shards, verify_cache
from tests.conftest import CLIPS, FRAME_SIZE, VARIANTS

VIDEO, CLIP, KEEP = VARIANTS


@pytest.fixture
def cache(cache_path: Path, tmp_path: Path) -> Path:
    """A copy of the session's cache, to be damaged."""
    return Path(shutil.copytree(cache_path, tmp_path / "cache"))


def problems(cache: Path, quick: bool = False, whole: bool = False) -> list[str]:
    """All problems, each a single line; those of cache.json and the flow, which takes time, only where `whole`."""
    storage = LocalStorage(cache)
    checks = verify_cache(storage, quick) if whole else check_shards(storage, read_settings(storage), quick)
    found = [str(p) for p in checks]
    assert all("\n" not in line and line.isprintable() for line in found)
    return found


def only_problem(cache: Path, where: str, quick: bool = False, whole: bool = False) -> str:
    """What is said of the one file that has a problem."""
    found = problems(cache, quick, whole)
    assert len(found) == 1, found
    assert found[0].startswith(f"{where}: "), found
    return found[0].removeprefix(f"{where}: ")


def flip(path: Path, at: float = 0.5) -> None:
    """Change one bit of a file, so far into it (a share of its length)."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def edit_json(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def named_files(cache: Path) -> set[str]:
    """Every file that a receipt names."""
    return {name for p in cache.rglob("receipts/**/*.json") for name in json.loads(p.read_text())["files"]}


def forge(cache: Path, name: str, old: str) -> None:
    """Put the hash that a file has now in the place of its old one in all receipts, as one who means harm would."""
    new = hashlib.sha256((cache / name).read_bytes()).hexdigest()
    for receipt in cache.rglob("receipts/**/*.json"):
        receipt.write_text(receipt.read_text().replace(old, new))


def forged(cache: Path, name: str, change: Callable[[Path], object]) -> None:
    """Change a file and the receipts with it, so that only its content can tell."""
    old = hashlib.sha256((cache / name).read_bytes()).hexdigest()
    change(cache / name)
    forge(cache, name, old)


def set_dataset(name: str, index: Any, value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file[name][index] = value

    return change


def replace_dataset(name: str, **options: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if options:
                file.create_dataset(name, **options)

    return change


def put_in_place(name: str, make: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    """Put something in the place of a dataset."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            make(file)

    return change


# A cache in order


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_a_clean_cache_is_well(cli: Callable[..., Result], cache_path: Path, options: list[str]) -> None:
    result = cli("verify", cache_path, *options)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("All is well")


def test_a_cache_of_failed_videos_only_is_well(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("video_id\na.mp4\nb.mp4\n")
    (tmp_path / "a.mp4").touch()
    assert cli("encode", tmp_path / "manifest.csv", "--out", tmp_path / "cache").exit_code == 3
    assert cli("render", tmp_path / "cache", "--alpha", "0.5").exit_code == 0
    assert problems(tmp_path / "cache") == []


def test_verify_changes_nothing(cache: Path) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in cache.rglob("*") if p.is_file()}

    before = state()
    assert problems(cache, whole=True) == []
    assert state() == before


# One wrong byte, a lost file


def test_a_flipped_bit_in_any_file_is_found(cache: Path) -> None:
    names = named_files(cache)
    assert len(names) == 2 * 2 + 2 * 7 + 2 * len(VARIANTS)
    for number, name in enumerate(sorted(names)):
        flip(cache / name, at=number / len(names))
    found = problems(cache, whole=True)
    assert {line.partition(": ")[0] for line in found} == names
    assert len(found) == len(names)
    assert all("SHA-256" in line for line in found)


@pytest.mark.parametrize(
    "name",
    [
        "frames/00001.h5",
        "small/00000.h5",
        "latents.zarr/00000/z/c/0/0",
        "latents.zarr/00001/std_video/zarr.json",
        f"motion/{CLIP}/00001.h5",
    ],
)
def test_a_flipped_bit_names_that_file_only(cli: Callable[..., Result], cache: Path, name: str) -> None:
    flip(cache / name)
    assert "SHA-256" in only_problem(cache, name)
    result = cli("verify", cache)
    assert result.exit_code == 1
    assert result.output.splitlines()[0].startswith(f"{name}: ")
    assert "1 problem;" in result.output


def test_another_flow_is_found(cache: Path) -> None:
    flip(cache / "flow.safetensors", at=1.0)
    assert "fingerprint" in only_problem(cache, "flow.safetensors", whole=True)


@pytest.mark.parametrize("content", [b"", b"no flow", None])
def test_a_flow_that_is_none_is_found(cache: Path, content: bytes | None) -> None:
    (cache / "flow.safetensors").unlink()
    if content is not None:
        (cache / "flow.safetensors").write_bytes(content)
    only_problem(cache, "flow.safetensors", whole=True)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "frames/00000.h5",
        "small/00001.h5",
        "latents.zarr/00001/z/c/0/0",
        "latents.zarr/00000/std_clip_histogram/c/0/0",
        "latents.zarr/zarr.json",
        f"motion/{VIDEO}/00000.h5",
        f"motion/{VIDEO}/variant.json",
    ],
)
def test_a_lost_file_is_found(cache: Path, name: str, quick: bool) -> None:
    (cache / name).unlink()
    assert only_problem(cache, name, quick) == "is missing"


def test_a_folder_in_the_place_of_a_file_is_found(cache: Path) -> None:
    (cache / "small/00000.h5").unlink()
    (cache / "small/00000.h5").mkdir()
    assert only_problem(cache, "small/00000.h5") == "is no regular file"


@pytest.mark.parametrize("name", ["frames/00000.h5", "small/00001.h5", f"motion/{KEEP}/00001.h5"])
@pytest.mark.parametrize("content", [b"", b"no HDF5", "half"])
def test_hdf5_that_does_not_open_is_found_without_hashing(cache: Path, name: str, content: bytes | str) -> None:
    whole = (cache / name).read_bytes()
    (cache / name).write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    assert "cannot be read" in only_problem(cache, name, quick=True)
    assert "SHA-256" in only_problem(cache, name)


@pytest.mark.parametrize("name", ["std_video", "std_clip_histogram"])
def test_a_flipped_bit_in_statistics_is_found_without_hashing(cache: Path, name: str) -> None:
    flip(cache / f"latents.zarr/00001/{name}/c/0/0")
    assert "checksum" in only_problem(cache, "latents.zarr/00001", quick=True)


@pytest.mark.parametrize(
    "name", ["frames/00001.h5", "latents.zarr/00000/std_video/zarr.json", "latents.zarr/00000/std_video/c/0/0"]
)
def test_a_pipe_in_the_place_of_a_file_is_found_and_not_waited_for(cache: Path, name: str) -> None:
    (cache / name).unlink()
    os.mkfifo(cache / name)
    assert only_problem(cache, name, quick=True) == "is no regular file"


def test_a_truncated_chunk_is_found_without_hashing(cache: Path) -> None:
    path = cache / "latents.zarr/00000/z/c/0/0"
    path.write_bytes(path.read_bytes()[:-1])
    assert "bytes" in only_problem(cache, "latents.zarr/00000/z/c/0/0", quick=True)


# What does not belong there, what is left to do


@pytest.mark.parametrize(
    "name",
    [
        "frames/notes.txt",
        "frames/00002.h5",
        "frames/0001.h5",
        "small/00000.h5.bak",
        "latents.zarr/00000/z/c/7/0",
        "latents.zarr/00009",
        "latents.zarr/.DS_Store",
        "motion/alpha0.50-zero-video",
        "motion/readme",
        f"motion/{VIDEO}/00002.h5",
        "receipts/other",
        "receipts/encode/00002.json",
        f"receipts/motion/{CLIP}/x",
    ],
)
def test_a_foreign_file_is_named(cache: Path, name: str) -> None:
    (cache / name).parent.mkdir(parents=True, exist_ok=True)
    (cache / name).write_text("what is this?")
    assert "not part of the cache" in only_problem(cache, name)


def test_other_files_beside_the_parts_of_a_cache_are_nobodys_business(cache: Path) -> None:
    for name in ("notes.txt", "notes.attempt-2"):
        (cache / name).write_text("mine")
    assert problems(cache) == []


@pytest.mark.parametrize(
    "name",
    [
        "index.csv.attempt-12-ab34cd56",
        "frames/00001.h5.attempt-12-ab34cd56",
        "latents.zarr/00001.attempt-12-ab34cd56/zarr.json",
        f"receipts/motion/{CLIP}/00000.json.attempt-12-ab34cd56",
    ],
)
def test_what_a_stopped_job_left_is_no_damage(cli: Callable[..., Result], cache: Path, name: str) -> None:
    (cache / name).parent.mkdir(parents=True, exist_ok=True)
    (cache / name).write_text("half")
    result = cli("verify", cache)
    assert result.exit_code == 1
    assert "run that command again" in result.output
    assert "0 problems, 1 unfinished" in result.output


def test_a_shard_that_is_not_done_is_no_damage(cli: Callable[..., Result], cache: Path) -> None:
    (cache / "receipts/encode/00001.json").unlink()
    result = cli("verify", cache)
    assert result.exit_code == 1
    assert result.output.startswith("shard 00001: is not done (encode); run `s2vc-prep encode` again")
    assert "0 problems, 1 unfinished" in result.output


def test_the_advice_for_an_unfinished_variant_finishes_it(cli: Callable[..., Result], cache: Path) -> None:
    (cache / f"receipts/motion/{KEEP}/00001.json").unlink()
    what = only_problem(cache, f"motion/{KEEP}")
    assert what.startswith("1 of 2 shards are not rendered")
    program, *words = shlex.split(what.split("`")[1])
    assert program == "s2vc-prep"
    assert cli(*words).exit_code == 0
    assert problems(cache) == []


# Receipts and the index


def swap_videos(receipt: Any) -> None:
    receipt["videos"].reverse()


@pytest.mark.parametrize(
    ("name", "edit", "says"),
    [
        ("ingest/00000", swap_videos, "in index.csv it is"),
        ("encode/00001", swap_videos, "in index.csv it is"),
        ("ingest/00001", lambda r: r["videos"].pop(), "its videos are 1, those of the shard in index.csv 2"),
        ("ingest/00000", lambda r: r.update(shard=1), "shard 1"),
        ("encode/00000", lambda r: r.update(stage="ingest"), "stage ingest"),
        ("ingest/00000", lambda r: r["videos"][0].update(frames=-1), "frames"),
        ("ingest/00000", lambda r: r["videos"][0].update(frames="40"), "frames"),
        ("ingest/00000", lambda r: r["videos"][0].update(status="fine"), "fine"),
        ("ingest/00000", lambda r: r["videos"][0].update(status="failed", reason="x"), "failed"),
        ("ingest/00000", lambda r: r["videos"][0].update(reason="x"), "reason"),
        ("ingest/00000", lambda r: r.update(videos={"a": 1}), "is no receipt"),
        ("ingest/00000", lambda r: r.update(files=[]), "files"),
        ("encode/00000", lambda r: r.update(inputs={"a": None}), "inputs"),
        ("encode/00000", lambda r: r.update(inputs={}), "small/00000.h5"),
        ("encode/00001", lambda r: r["inputs"].update({"small/00001.h5": "0" * 64}), "small/00001.h5"),
        ("encode/00001", lambda r: r["videos"][0].update(sha256="0" * 64), "receipts/ingest/00001.json"),
        ("ingest/00001", lambda r: r["files"].update({"../secret": "0" * 64}), "../secret"),
        ("encode/00001", lambda r: r["files"].pop("latents.zarr/00001/z/c/0/0"), "latents.zarr/00001/z/c/0/0"),
        (f"motion/{CLIP}/00001", lambda r: r["inputs"].popitem(), "was not made from"),
        (f"motion/{CLIP}/00000", lambda r: r.update(files={}), f"motion/{CLIP}/00000.h5"),
    ],
)
def test_a_wrong_receipt_is_named(cache: Path, name: str, edit: Callable[[Any], object], says: str) -> None:
    receipt = f"receipts/{name}.json"
    edit_json(cache / receipt, edit)
    found = problems(cache)
    assert says in found[0]
    assert {line.partition(": ")[0] for line in found} <= {receipt, f"motion/{CLIP}/00001.h5", *_later(name)}
    assert found[0].startswith(f"{receipt}: ")


def _later(name: str) -> set[str]:
    """Receipts that were made from what a changed one says now."""
    stage, _, shard = name.rpartition("/")
    return {f"receipts/motion/{v}/{shard}.json" for v in VARIANTS} if stage == "encode" else set()


@pytest.mark.parametrize("content", ["", "[]", "null", "[" * 50_000, '{"stage": "ingest"}', "\udcff"])
def test_a_receipt_that_is_none_is_named(cache: Path, content: str) -> None:
    path = cache / "receipts/ingest/00001.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    only_problem(cache, "receipts/ingest/00001.json")


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "partial"), ("reason", "dull"), ("frames", "41"), ("first_frame", "3"), ("shard", "1")],
)
def test_a_row_of_the_index_that_differs_is_named(cache: Path, column: str, value: str) -> None:
    path = cache / "index.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index(column)] = value
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    assert column in only_problem(cache, f"index.csv, row 1 ({next(iter(CLIPS))})")


def test_every_cell_of_a_row_that_differs_is_named(cache: Path) -> None:
    path = cache / "index.csv"
    lines = path.read_text().splitlines()
    before, shard, _ = lines[2].rsplit(",", 5)[0], *lines[2].rsplit(",", 5)[1:3]
    lines[2] = f"{before},{shard},7,8,partial,dull"
    path.write_text("\n".join(lines) + "\n")
    found = problems(cache)
    assert [line.partition("): ")[2].split()[0] for line in found] == ["status", "reason", "frames", "first_frame"]
    assert {line.partition(" (")[0] for line in found} == {"index.csv, row 2"}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text + "more,0,c,train,2,0,0,,\n",
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        lambda text: text.replace("status", "state"),
        lambda text: text.replace(",1,slide", ",1.5,slide"),
        lambda text: text.replace(",40,ok", ",99999999999999999999999,ok"),
        lambda text: "\0" * 100,
    ],
)
def test_an_index_of_another_form_is_one_problem(cache: Path, change: Callable[[str], str]) -> None:
    path = cache / "index.csv"
    path.write_text(change(path.read_text()))
    only_problem(cache, "index.csv")


def test_an_index_behind_the_receipts_is_no_damage(cache: Path) -> None:
    lines = (cache / "index.csv").read_text().splitlines()
    # As encode writes it before it starts: nothing is known of the second shard yet.
    blank = [",".join([*line.split(",")[:4], "1,0,0,,"]) for line in lines[5:]]
    (cache / "index.csv").write_text("\n".join([*lines[:5], *blank]) + "\n")
    (problem,) = check_shards(LocalStorage(cache), read_settings(LocalStorage(cache)))
    assert problem.unfinished
    assert "00001" in problem.what


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 50_000,
        '{"format_version": 2}',
        '{"format_version": 1}',
        {"segments": [10**15]},
        {"segments": []},
        {"segments": ["6"]},
        {"frame_size": [72]},
        {"shard_size": 0},
        {"shard_size": 4.0},
        {"precision": "int4"},
        {"jpeg_quality": 950},
    ],
)
def test_settings_that_cannot_be_are_one_problem(cache: Path, content: str | dict[str, Any]) -> None:
    path = cache / "cache.json"
    if isinstance(content, str):
        path.write_text(content)
    else:
        edit_json(path, lambda settings: settings.update(content))
    only_problem(cache, "cache.json", whole=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v.update(alpha=0.6),
        lambda v: v.update(alpha="0.5"),
        lambda v: v.update(clip_length=10**400),
        lambda v: v.update(more=1),
        lambda v: v.clear(),
    ],
)
def test_a_variant_that_is_not_its_folder_is_named(cache: Path, edit: Callable[[Any], object]) -> None:
    edit_json(cache / f"motion/{CLIP}/variant.json", edit)
    only_problem(cache, f"motion/{CLIP}/variant.json")


# Files whose hashes are right and whose content is not


def swap_jpeg(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put another JPEG, padded to the same length, in the place of the first frame."""
    with h5py.File(path, "r+") as file:
        stop = int(file["jpeg_offsets"][1])
        new = change(file["jpeg"][:stop].tobytes())
        file["jpeg"][:stop] = np.frombuffer(new.ljust(stop, b"\0"), np.uint8)


def small_jpeg(old: bytes) -> bytes:
    height, width = FRAME_SIZE
    return simplejpeg.encode_jpeg(np.zeros((height - 8, width, 3), np.uint8), 95, "RGB", "420")


def huge_jpeg(old: bytes) -> bytes:
    """The same with a header that claims 65,500 x 65,500 pixels."""
    start = old.index(b"\xff\xc0") + 5
    return old[:start] + b"\xff\xdc\xff\xdc" + old[start + 4 :]


FIRST_SHARD = 40 + 21 + 33
"""Frames of its videos, one of which failed."""

FRAMES, SMALL, MOTION = "frames/00000.h5", "small/00000.h5", f"motion/{CLIP}/00000.h5"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (FRAMES, set_dataset("jpeg_offsets", 0, 5), "jpeg_offsets"),
        (FRAMES, set_dataset("jpeg_offsets", 3, 0), "jpeg_offsets"),
        (FRAMES, set_dataset("jpeg_offsets", -1, 10**15), "jpeg_offsets"),
        (FRAMES, set_dataset("video_offsets", 1, 39), "video_offsets"),
        (FRAMES, set_dataset("video_ids", 0, "other.mp4"), "video_ids"),
        (FRAMES, set_dataset("video_ids", 0, b"\xff"), "video_ids"),
        (FRAMES, replace_dataset("video_ids"), "video_ids"),
        (FRAMES, replace_dataset("video_ids", data=np.arange(4)), "video_ids"),
        (FRAMES, replace_dataset("jpeg", shape=(10**15,), dtype="u1"), "jpeg"),
        (FRAMES, lambda path: swap_jpeg(path, small_jpeg), "64x98"),
        (FRAMES, lambda path: swap_jpeg(path, huge_jpeg), "65500x65500"),
        (FRAMES, lambda path: swap_jpeg(path, lambda old: b""), "does not decode"),
        (FRAMES, lambda path: swap_jpeg(path, lambda old: old[: len(old) // 2]), "does not decode"),
        (SMALL, replace_dataset("small", shape=(FIRST_SHARD, 64, 64, 3), dtype="u1"), "not stored whole"),
        (SMALL, replace_dataset("small", shape=(10**12, 64, 64, 3), dtype="u1"), "small"),
        (SMALL, replace_dataset("small", data=np.zeros((FIRST_SHARD, 64, 64, 3), np.int8)), "int8"),
        (SMALL, replace_dataset("small", data=0), "small"),
        (SMALL, replace_dataset("small"), "small"),
        (SMALL, put_in_place("small", lambda file: file.create_group("small")), "no dataset"),
        (SMALL, put_in_place("small", lambda file: file.__setitem__("small", np.dtype("u1"))), "no dataset"),
        (SMALL, put_in_place("small", lambda file: file.__setitem__("small", h5py.SoftLink("/other"))), "link"),
        (FRAMES, replace_dataset("jpeg_offsets", data=np.arange(FIRST_SHARD + 1.0)), "jpeg_offsets"),
        (MOTION, replace_dataset("kept"), "kept"),
        (MOTION, replace_dataset("alpha", data=np.zeros(3, np.float32)), "alpha"),
        (MOTION, replace_dataset("kept", shape=(9,), dtype="f4", compression="gzip", chunks=(9,)), "kept"),
        (MOTION, set_dataset("window_offsets", 1, 17), "window"),
        (MOTION, set_dataset("window_video", 0, 1), "window"),
        (MOTION, set_dataset("window_video", -1, -3), "window"),
        (MOTION, set_dataset("window_frames", 20, 69), "window"),
        (MOTION, set_dataset("scale", 1, -0.5), "scale"),
        (MOTION, set_dataset("scale", 1, np.nan), "scale"),
        (MOTION, set_dataset("kept", 0, 1.5), "kept"),
        (MOTION, set_dataset("kept", 0, 1.0), "keeps every latent"),
        (MOTION, set_dataset("alpha", 2, 0.25), "alpha"),
        (MOTION, replace_dataset("correction", shape=(10**12, 64, 64, 3), dtype="i1", chunks=(8, 64, 64, 3)), "corr"),
        (MOTION, replace_dataset("window_frames", shape=(10**12,), dtype="i8"), "not stored whole"),
    ],
)
def test_content_that_breaks_the_format_is_named(
    cache: Path, name: str, change: Callable[[Path], object], says: str
) -> None:
    forged(cache, name, change)
    assert says in only_problem(cache, name)


def test_a_link_to_another_file_is_not_followed(cache: Path, tmp_path: Path) -> None:
    shutil.copy(cache / SMALL, tmp_path / "other.h5")

    def link(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file["small"]
            file["small"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "small")

    forged(cache, SMALL, link)
    assert "link" in only_problem(cache, SMALL)


def test_chunks_too_large_to_unpack_are_refused(cache: Path) -> None:
    def repack(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            correction = file["correction"][:]
            del file["correction"]
            options = {"chunks": (4096, 64, 64, 3), "maxshape": (None, 64, 64, 3), "compression": "gzip"}
            file.create_dataset("correction", data=correction, **options)

    forged(cache, MOTION, repack)
    assert "too large" in only_problem(cache, MOTION)


def damage_array(cache: Path, name: str, row: int, value: float) -> None:
    """Write a value into an array of the first shard's latents, with the receipts to match."""
    path = f"latents.zarr/00000/{name}"
    old = {p: hashlib.sha256((cache / path / p).read_bytes()).hexdigest() for p in ("c/0/0", "zarr.json")}
    array = zarr.open_array(cache / path, mode="r+")
    array[row, 7] = value
    for part, digest in old.items():
        forge(cache, f"{path}/{part}", digest)


FAILED_ROW, FIRST_ROW = 2, 0


@pytest.mark.parametrize(
    ("name", "row", "value", "says"),
    [
        ("std_video", FIRST_ROW, np.nan, "finite"),
        ("std_video", FIRST_ROW, -1.0, "finite"),
        ("std_video", FAILED_ROW, 0.5, "not 0"),
        ("std_clip_histogram", FIRST_ROW, -1, "less than 0"),
        ("std_clip_histogram", FIRST_ROW, 3 * 12288 + 1, "more than the 3 windows"),
        ("std_clip_histogram", FIRST_ROW, 2**62, "more than the 3 windows"),
        ("std_clip_histogram", FAILED_ROW, 1, "more than the 0 windows"),
    ],
)
def test_statistics_that_cannot_be_are_named(cache: Path, name: str, row: int, value: float, says: str) -> None:
    damage_array(cache, name, row, value)
    assert says in only_problem(cache, "latents.zarr/00000")


@pytest.mark.parametrize(
    "edit",
    [
        lambda z: z.update(shape=[10**12, 12288]),
        lambda z: z.update(data_type="float64"),
        lambda z: z.update(node_type="group"),
        lambda z: z.update(codecs=[]),
        lambda z: z.update(shape=[float(n) for n in z["shape"]]),
        lambda z: z.update(shape=z["shape"][:1]),
        lambda z: z["shape"].__setitem__(0, z["shape"][0] + 1),
        lambda z: z.clear(),
        lambda z: z["chunk_grid"]["configuration"].update(chunk_shape=[10**9, 12288]),
    ],
)
@pytest.mark.parametrize("name", ["z", "std_video"])
def test_latents_described_as_something_else_are_named(cache: Path, name: str, edit: Callable[[Any], object]) -> None:
    forged(cache, f"latents.zarr/00000/{name}/zarr.json", lambda path: edit_json(path, edit))
    only_problem(cache, "latents.zarr/00000")


def test_latents_described_in_other_words_are_well(cache: Path) -> None:
    for name in ("z", "std_video", "std_clip_histogram"):
        path = f"latents.zarr/00000/{name}/zarr.json"
        forged(cache, path, lambda p: p.write_text(json.dumps(json.loads(p.read_text()), sort_keys=True)))
    assert problems(cache) == []


def test_several_processes_find_what_one_finds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(cache / "frames/00000.h5")
    flip(cache / f"motion/{CLIP}/00001.h5")
    (cache / "small/00001.h5").unlink()
    (cache / f"receipts/motion/{KEEP}/00000.json").unlink()
    alone = problems(cache)
    assert len(alone) == 4
    monkeypatch.setattr(over_shards, "SHARDS_A_PROCESS", 1)
    storage = LocalStorage(cache)
    assert [str(p) for p in check_shards(storage, read_settings(storage), workers=2)] == alone


@pytest.mark.parametrize("frames", [10**7, 10**15, 10**30])
def test_any_number_of_frames_may_be_claimed(cache: Path, frames: int) -> None:
    for receipt in cache.rglob("receipts/**/00000.json"):
        edit_json(receipt, lambda r: r["videos"][0].update(frames=frames))
    found = problems(cache)
    assert found
    assert all("00000" in line or line.startswith("index.csv, row") for line in found)


def test_a_variant_with_impossible_windows_is_told_as_foreign(cache: Path) -> None:
    name = "alpha0.5-zero-clip1000000000000"
    for folder in ("motion", "receipts/motion"):
        shutil.copytree(cache / folder / CLIP, cache / folder / name)
    for receipt in (cache / f"receipts/motion/{name}").iterdir():
        receipt.write_text(receipt.read_text().replace(CLIP, name))
    edit_json(cache / f"motion/{name}/variant.json", lambda v: v.update(clip_length=10**12, window_stride=10**12))
    assert {line.partition(": ")[0] for line in problems(cache)} == {f"motion/{name}", f"receipts/motion/{name}"}


# The user's mistakes


def test_no_cache_is_one_line(cli: Callable[..., Result], tmp_path: Path) -> None:
    result = cli("verify", tmp_path)
    assert result.exit_code == 2
    assert "there is no cache" in result.output
    assert len(result.output.splitlines()) == 1


def test_a_cache_in_use_is_refused(cache: Path) -> None:
    with locked(LocalStorage(cache)), pytest.raises(UserError, match="in use"):
        problems(cache, whole=True)


def test_names_with_terminal_sequences_are_spelled_out(cache: Path) -> None:
    (cache / "frames/\x1b[31mred\n.h5").write_text("")
    assert problems(cache)[0].startswith(r"frames/\x1b[31mred\n.h5: ")

"""Caches in an object store (an S3 server on this machine): what they hold is what they hold on disk."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import s3fs
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.manifests.table import read_manifest
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.copies import on_copies
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.remote_storage import RemoteStorage
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.stages.ingest_shard import ingest_shard, sources_of
from s2vc.pipeline.storage.files import sha256
from s2vc.pipeline.storage.object_store import StoreError
from tests.support.clips import moving_square, write_clip
from tests.support.object_store import BUCKET, SECRET, requests
from tests.support.processes import finish, start, wait_for

Prep = Callable[..., Result]
VARIANT = "alpha0.5-zero-video"
URL = f"s3://{BUCKET}/sets/made"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The options that keep copies out of the user's cache folder."""
    return ["--local-cache", tmp_path_factory.mktemp("copies")]


def encode(cli: Prep, videos: Path, out: object, *options: object) -> Result:
    """Encode like `cache_path`, in float32 whatever the processor has: the same bytes are wanted."""
    size = ("--size", "72x98", "--shard-size", 4, "--precision", "float32")
    return cli("encode", videos / "manifest.csv", "--out", out, *size, *options)


@pytest.fixture(scope="module")
def made(s3: s3fs.S3FileSystem, cli: Prep, videos: Path, local: list[object]) -> str:
    """The cache of the tests' videos at a URL, encoded and rendered. Not to be written into."""
    result = encode(cli, videos, URL, *local)
    assert result.exit_code == 3, result.output
    assert URL in result.output
    result = cli("render", URL, "--alpha", 0.5, *local)
    assert result.exit_code == 0, result.output
    return URL


def objects(s3: s3fs.S3FileSystem, url: str) -> dict[str, str]:
    """Key -> ETag of every object of a cache, but the notes of jobs."""
    base = url.removeprefix("s3://")
    return {k[len(base) + 1 :]: v["ETag"] for k, v in s3.find(base, detail=True).items() if "/jobs/" not in k}


def test_it_holds_what_the_cache_on_disk_holds(
    s3: s3fs.S3FileSystem, made: str, cache_path: Path, local: list[object], tmp_path: Path
) -> None:
    """Receipt by receipt: the same but for the prefix, and under that the same files with the same bytes."""
    base = made.removeprefix("s3://")
    keys = set(objects(s3, made))
    accounted = {"cache.json", "index.csv", "flow.safetensors", f"motion/{VARIANT}/variant.json"}
    for stage in ("ingest", "encode", f"motion/{VARIANT}"):
        for path in sorted((cache_path / "receipts" / stage).glob("*.json")):
            key = path.relative_to(cache_path).as_posix()
            here, there = json.loads(path.read_text()), json.loads(s3.cat_file(f"{base}/{key}"))
            prefix = there.pop("prefix")
            assert there == here
            for name, digest in here["files"].items():
                s3.get_file(f"{base}/{prefix}/{name}", str(tmp_path / "object"))
                assert sha256(tmp_path / "object") == digest
            accounted |= {key, *(f"{prefix}/{name}" for name in here["files"])}
    assert keys == accounted
    for name in ("index.csv", "flow.safetensors"):
        s3.get_file(f"{base}/{name}", str(tmp_path / "object"))
        assert sha256(tmp_path / "object") == sha256(cache_path / name)


def test_it_reads_as_the_cache_on_disk_does(made: str, cache_path: Path, tmp_path: Path) -> None:
    here, there = Cache(cache_path), Cache(made, tmp_path / "copies", "1GB")
    assert there.index.equals(here.index)
    for video_id in here.index["video_id"]:
        for read in ("frames", "small", "latents", "std", "std_clip_histogram"):
            assert np.array_equal(getattr(here, read)(video_id), getattr(there, read)(video_id)), read
    assert np.array_equal(here.motion_preserved("slide/a.mp4", VARIANT), there.motion_preserved("slide/a.mp4", VARIANT))
    assert [v.name for v in there.variants()] == [VARIANT]
    assert there.unrendered_shards(there.variants()[0]) == []


def test_latents_are_read_through_zarr_and_not_fetched_whole(made: str, tmp_path: Path) -> None:
    cache = Cache(made, tmp_path / "copies", "1GB")
    with requests() as asked:
        cache.std("slide/a.mp4")
    assert not any("/z/c/" in what for what in asked)
    cache.latents("slide/a.mp4", 0, 3)
    assert not list((tmp_path / "copies").glob("objects/*"))


def test_commands_that_read_take_a_url(
    cli: Prep, made: str, cache_path: Path, local: list[object], tmp_path: Path
) -> None:
    shown = json.loads(cli("info", made, "--json", *local).stdout)
    known = json.loads(cli("info", cache_path, "--json").stdout)
    assert shown["cache"] == made
    for fact in ("videos", "frames", "share_kept", "splits", "failures"):
        assert shown[fact] == known[fact]
    whole = ("frames", "small")  # in the other parts, some small files lie elsewhere
    here, there = ({p["part"]: p["bytes"] for p in f["parts"] if p["part"] in whole} for f in (known, shown))
    assert here == there
    for command in (
        ["preview", made, "--variant", VARIANT, "--out", tmp_path / "p.png"],
        ["export", made, "--variant", VARIANT, "--out", tmp_path / "clips"],
        ["verify", made],
        ["verify", made, "--quick"],
    ):
        result = cli(*command, *local)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert len(list((tmp_path / "clips").rglob("*.mp4"))) == 5


def test_a_variant_that_is_not_rendered_is_previewed_as_on_disk(
    cli: Prep, made: str, cache_path: Path, local: list[object], tmp_path: Path
) -> None:
    for place, name in ((made, "there.png"), (cache_path, "here.png")):
        result = cli("preview", place, "--alpha", 0.3, "--out", tmp_path / name, *local)
        assert result.exit_code == 0, result.output
    assert sha256(tmp_path / "there.png") == sha256(tmp_path / "here.png")


def test_a_second_run_has_nothing_to_do_and_changes_nothing(
    s3: s3fs.S3FileSystem, cli: Prep, videos: Path, made: str, local: list[object], tmp_path: Path
) -> None:
    """Also on a machine that has no copies yet."""

    def written() -> dict[str, object]:
        found = s3.find(f"{made.removeprefix('s3://')}/receipts", detail=True)
        return {k: v["LastModified"] for k, v in found.items()}

    before = written()
    time.sleep(1.1)  # the clock of S3 has seconds
    for place in (local, ["--local-cache", tmp_path / "elsewhere"]):
        result = encode(cli, videos, made, *place)
        assert "0 videos to do in 0 shards, 6 done before" in result.output
        result = cli("render", made, "--alpha", 0.5, *place)
        assert "0 frames to render in 0 shards" in result.output
    assert written() == before


def test_damage_in_the_store_is_named_and_made_anew(
    s3: s3fs.S3FileSystem, cli: Prep, videos: Path, local: list[object], tmp_path: Path
) -> None:
    url = f"s3://{BUCKET}/damaged"
    encode(cli, videos, url, *local)
    cli("render", url, "--alpha", 0.5, *local)
    quiet = objects(s3, url)
    changed, lost, strange = (
        next(k for k in quiet if k.endswith("00000/z/c/0/0")),
        next(k for k in quiet if k.endswith("frames/00001.h5")),
        "attempts/ingest/00000/notes.txt",
    )
    content = bytearray(s3.cat_file(f"{BUCKET}/damaged/{changed}"))
    content[1000] ^= 1
    s3.pipe_file(f"{BUCKET}/damaged/{changed}", bytes(content))
    s3.rm_file(f"{BUCKET}/damaged/{lost}")
    s3.pipe_file(f"{BUCKET}/damaged/{strange}", b"mine")

    result = cli("verify", url, *local)
    assert result.exit_code == 1
    assert "latents.zarr/00000/z/c/0/0: is not as it was written" in result.output
    assert "frames/00001.h5: is missing" in result.output
    assert f"{strange}: is not part of the cache" in result.output
    assert "3 problems" in result.output
    # A reader without a copy says so, too.
    with pytest.raises(FileNotFoundError, match="s2vc-prep verify"):
        Cache(url, tmp_path / "fresh", "1GB").frames("orbit/short.mp4")

    result = cli("verify", url, "--repair", "--sources", videos / "manifest.csv", *local)
    assert "to be done again: encode of shard 00000, ingest of shard 00001" in result.output
    assert "1 problem" in result.output.splitlines()[-1], "what is not ours is left alone"
    assert objects(s3, url) == quiet | {strange: objects(s3, url)[strange]}


@pytest.mark.slow
def test_repair_sees_what_workers_with_copies_of_their_own_have_done(
    s3: s3fs.S3FileSystem,
    cli: Prep,
    videos: Path,
    local: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on other nodes: a changed source gives other frames, so latents and renderings of its shard are made anew."""
    url, own = f"s3://{BUCKET}/changed", tmp_path / "videos"
    shutil.copytree(videos, own)
    encode(cli, own, url, *local)
    cli("render", url, "--alpha", 0.5, *local)
    write_clip(own / "slide/a.mp4", moving_square(38, seed=9))
    monkeypatch.setattr(RemoteStorage, "__reduce__", lambda self: (RemoteStorage, (url, tmp_path / "node", self.limit)))
    result = cli("verify", url, "--repair", "--sources", own / "manifest.csv", *local)
    assert "to be done again: ingest of shard 00000" in result.output
    assert result.exit_code == 0 and "All is well" in result.output.splitlines()[-1]


def test_what_was_made_of_replaced_frames_goes_before_the_new_ones_count(
    s3: s3fs.S3FileSystem, made: str, videos: Path, tmp_path: Path
) -> None:
    """A worker ingests a shard whose first video has changed, and nobody goes on from there."""
    copy = f"{BUCKET}/replaced"
    s3.copy(made.removeprefix("s3://"), copy, recursive=True)
    changed = Path(shutil.copytree(videos, tmp_path / "videos"))
    storage = open_storage(f"s3://{copy}", tmp_path / "copies", "1GB")
    settings, manifest = read_settings(storage), read_manifest(videos / "manifest.csv")
    sources = sources_of(manifest)[: settings.shard_size]
    before = objects(s3, f"s3://{copy}")
    on_copies(ingest_shard, (), storage, settings, 0, sources, changed)
    assert objects(s3, f"s3://{copy}") == before, "frames that come out the same keep what was made of them"
    write_clip(changed / sources[0].path, moving_square(9, seed=77))
    on_copies(ingest_shard, (), storage, settings, 0, sources, changed)
    left = {key for key in objects(s3, f"s3://{copy}") if "/00000" in key}
    assert {key for key in left if "ingest" not in key} == set()
    assert storage.fetch_receipt("encode", 0) is None and storage.finished(f"motion/{VARIANT}") == {1}


def test_a_cache_that_is_opened_again_shows_what_others_wrote(s3: s3fs.S3FileSystem, made: str, tmp_path: Path) -> None:
    copy = f"{BUCKET}/written"
    s3.copy(made.removeprefix("s3://"), copy, recursive=True)
    before = Cache(f"s3://{copy}", tmp_path, "1GB").index
    s3.pipe_file(f"{copy}/index.csv", s3.cat_file(f"{copy}/index.csv").replace(b"orbit,", b"circle,"))
    after = Cache(f"s3://{copy}", tmp_path, "1GB").index
    assert set(before["class_name"]) == {"slide", "orbit"} and set(after["class_name"]) == {"slide", "circle"}


def test_a_damaged_object_is_never_read(s3: s3fs.S3FileSystem, cli: Prep, made: str, tmp_path: Path) -> None:
    from s2vc.training.clips import PairClips

    copy = f"{BUCKET}/copied"
    s3.copy(made.removeprefix("s3://"), copy, recursive=True)
    key = next(k for k in s3.find(copy) if k.endswith("frames/00000.h5"))
    content = bytearray(s3.cat_file(key))
    content[-1] ^= 1
    s3.pipe_file(key, bytes(content))
    pairs = PairClips(Cache(f"s3://{copy}", tmp_path, "1GB"), [VARIANT], clip_length=8, split="all")
    with pytest.raises(UserError, match=r"an object of the store is damaged.*s2vc-prep verify s3://lab/copied"):
        pairs[0]
    assert not list((tmp_path / "objects").iterdir()), "nothing of it is kept"


@pytest.mark.slow
def test_killed_while_it_uploads_it_goes_on_to_the_same_objects(
    s3: s3fs.S3FileSystem, videos: Path, made: str, tmp_path: Path
) -> None:
    """The real command, killed with its workers once something is in the store, and run again on another machine."""
    url = f"s3://{BUCKET}/killed"
    command = [
        "encode", videos / "manifest.csv", "--out", url, "--size", "72x98", "--shard-size", 4, "--workers", 1,
        "--precision", "float32",
    ]  # fmt: skip
    job = start([*command, "--local-cache", tmp_path / "first"])
    wait_for(lambda: s3.find(f"{BUCKET}/killed/attempts"), job)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert len(s3.find(f"{BUCKET}/killed/receipts")) < 4, "it was killed in the middle"
    assert finish(start([*command, "--local-cache", tmp_path / "second"])) == 3
    wanted = {k: v for k, v in objects(s3, made).items() if "motion" not in k}
    assert objects(s3, url) == wanted


def test_a_store_that_does_not_answer_is_no_cache_with_nothing_done(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is not taken for missing, or all would be done again."""
    storage = open_storage(made, tmp_path, "1GB")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(StoreError, match="cannot be used"):
            storage.fetch_receipt("ingest", 0)
        with pytest.raises(StoreError, match="cannot be used"):
            Cache(storage)
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_process_that_is_forked_has_no_lease_of_its_parent(made: str, tmp_path: Path) -> None:
    """Else what the parent gives up could not be dropped while the child lives. The child reads, too."""

    def held() -> list[str]:
        links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return [link for link in links if link.startswith(str(tmp_path / "locks"))]

    def read_in_child() -> None:
        assert held() == []
        assert np.array_equal(cache.frames("slide/a.mp4"), frames)
        assert len(held()) == 1

    cache = Cache(made, tmp_path, "1GB")
    frames = cache.frames("slide/a.mp4")
    assert len(held()) == 1
    child = multiprocessing.get_context("fork").Process(target=read_in_child)
    child.start()
    child.join()
    assert child.exitcode == 0


def test_a_cache_is_sent_to_processes_as_it_is_named(made: str, tmp_path: Path) -> None:
    """Without what was fetched before."""
    cache = Cache(made, tmp_path, "1GB")
    sent = pickle.loads(pickle.dumps(cache))
    assert np.array_equal(sent.small("slide/a.mp4"), cache.small("slide/a.mp4"))
    assert sent.storage is not cache.storage and sent.layout == cache.layout
    assert sent.storage.local_settings() == {"local_cache": str(tmp_path), "local_cache_size": str(10**9)}


def test_credentials_are_nowhere(s3: s3fs.S3FileSystem, made: str, local: list[object]) -> None:
    """Neither in the store nor in the copies."""
    kept = [p for p in Path(str(local[1])).rglob("*") if p.is_file()]
    assert kept
    assert not any(SECRET.encode() in p.read_bytes() for p in kept)
    assert not any(SECRET.encode() in s3.cat_file(key) for key in s3.find(made.removeprefix("s3://")))

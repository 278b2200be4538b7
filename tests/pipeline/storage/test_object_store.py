"""Stores and URLs: who holds a cache, which URLs name none, what a size may be written like."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import s3fs
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage import lease as lease_module
from s2vc.pipeline.storage.byte_sizes import bytes_of
from s2vc.pipeline.storage.lease import leased
from s2vc.pipeline.storage.object_store import Store
from tests.support.object_store import BUCKET
from tests.support.processes import LIMIT

Prep = Callable[..., Result]
PLACE = f"{BUCKET}/held"
URL = f"s3://{PLACE}"


def hold() -> "subprocess.Popen[str]":
    """A process that holds the cache until it is killed."""
    code = (
        "import sys, time\nfrom s2vc.pipeline.storage.lease import leased\n"
        "from s2vc.pipeline.storage.object_store import Store\n"
        "with leased(Store(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, URL], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_a_second_job_is_refused_until_the_first_is_gone(
    s3: s3fs.S3FileSystem, cli: Prep, videos: Path, tmp_path: Path
) -> None:
    """Also by those that only read it; a process of this machine that was killed is seen to be gone at once."""
    s3.pipe_file(f"{PLACE}/cache.json", b"{}")
    holder = hold()
    try:
        for command in (["encode", videos / "manifest.csv", "--out", URL], ["verify", URL]):
            result = cli(*command, "--local-cache", tmp_path)
            assert result.exit_code == 2
            assert f"in use by another job (process {holder.pid} on {os.uname().nodename}" in result.output
    finally:
        holder.kill()
        holder.wait()
    with leased(Store(URL)):
        assert len(s3.find(f"{PLACE}/jobs")) == 1
    assert not s3.find(f"{PLACE}/jobs")


def test_a_job_of_another_machine_is_waited_for_while_it_renews_its_note(
    s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = f"{PLACE}/jobs/elsewhere-17-abcd"
    s3.pipe_file(note, b"")
    with pytest.raises(UserError, match="process 17 on elsewhere"), leased(Store(URL)):
        pass
    # Two minutes are long for a test. The clock of S3 has whole seconds: after one, a note is older than none.
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 0.0)
    time.sleep(1.1)
    with leased(Store(URL)):
        assert not s3.exists(note)


def test_a_job_renews_its_note(s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.5)
    with leased(Store(URL)):
        (before,) = s3.find(f"{PLACE}/jobs", detail=True).values()
        until = time.monotonic() + LIMIT
        while next(iter(s3.find(f"{PLACE}/jobs", detail=True).values()))["LastModified"] == before["LastModified"]:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_job_that_fails_leaves_no_note(s3: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one written by what renews it, which may be at it just then."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.001)

    def fail() -> None:
        with leased(Store(URL)):
            time.sleep(0.1)
            raise ValueError("failed")

    for _ in range(5):
        with pytest.raises(ValueError, match="failed"):
            fail()
    time.sleep(0.5)
    assert not s3.find(f"{PLACE}/jobs")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:secret@lab/made", "holds no credentials"),
        ("simplecache::s3://lab/made", "is no URL"),
        ("nowhere://lab/made", "Protocol not known"),
        ("gs://lab/made", "pip install 's2vc[gs]'"),
        (f"s3://{BUCKET}/nothing-here", "no cache.json"),
        ("s3://no-such-bucket/made", "no cache.json"),
    ],
)
def test_urls_that_name_no_cache(s3: s3fs.S3FileSystem, cli: Prep, url: str, said: str, tmp_path: Path) -> None:
    result = cli("info", url, "--local-cache", tmp_path)
    assert result.exit_code == 2
    assert said in result.output and "secret@" not in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "size"), [("50GB", 50 * 10**9), ("1.5 TiB", 3 * 2**39), ("4096", 4096), ("2mb", 2 * 10**6)]
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "50 gigs", "1 GB GB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="is no size"):
        bytes_of(text)

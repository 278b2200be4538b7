"""The real command, killed by real signals and run again: the same bytes as an undisturbed run, nothing done twice."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s2vc.pipeline.cache import Cache
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree
from tests.support.processes import LIMIT, Job, finish, start, wait_for, workers
from tests.support.reference_run import SHARDS, encode_command, render_command


def receipts(out: Path, stage: str) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in out.glob(f"receipts/{stage}/*.json")}


def kill_driver_when(reached: Callable[[], object], command: list[object]) -> None:
    job = start(command)
    wait_for(reached, job)
    job.send_signal(signal.SIGKILL)
    job.wait()


def test_a_killed_driver_goes_on_to_the_same_bytes(folder: Path) -> None:
    """Killed while it ingests, again while it encodes, then while it renders."""
    out = folder / "driver"
    encode, render = encode_command(folder, out), render_command(out)
    kill_driver_when(lambda: list(out.glob("frames/*.attempt-*")), encode)
    kill_driver_when(lambda: list(out.glob("receipts/encode/*.json")), encode)
    done = receipts(out, "ingest") | receipts(out, "encode")
    assert len(receipts(out, "encode")) < SHARDS, "it was killed in the middle"
    assert finish(start(encode)) == 0
    kill_driver_when(lambda: list(out.glob("receipts/motion/*/*.json")), render)
    done |= receipts(out, "motion/*")
    assert len(receipts(out, "motion/*")) < SHARDS, "it was killed in the middle"
    assert finish(start(render)) == 0
    assert {p: p.stat().st_mtime_ns for p in done} == done, "finished shards are not redone"
    assert tree(out) == tree(folder / "quiet")


@pytest.mark.parametrize("rendered", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_between_new_frames_and_their_latents_no_video_is_taken_for_another(
    rendered: bool, tmp_path: Path
) -> None:
    """A video that was missing appears, and moves the others of its shard: neither the index, nor latents and clips
    that were made before, may still lead to where they were."""
    greys = {"a.mp4": 120, "b.mp4": 60, "c.mp4": 200}
    table, out = tmp_path / "m.csv", tmp_path / "cache"
    table.write_text("\n".join(["video_id", *greys]) + "\n")

    def draw(name: str) -> None:
        write_clip(tmp_path / name, np.full((150, 96, 128, 3), greys[name], np.uint8))

    draw("b.mp4")
    draw("c.mp4")
    encode: list[object] = ["encode", table, "--root", tmp_path, "--out", out, "--size", "72x98", "--workers", 1]
    assert finish(start(encode)) == 3
    if rendered:
        assert finish(start(render_command(out))) == 0
        assert Cache(out).unrendered_shards(Cache(out).variants()[0]) == []
    draw("a.mp4")
    (before,) = receipts(out, "ingest").items()
    kill_driver_when(lambda: (now := receipts(out, "ingest")) and now != dict([before]), encode)
    killed = Cache(out)
    assert len(receipts(out, "encode")) == 0, "it was killed in the middle"
    assert killed.index["status"].tolist() == ["", "", ""] and not killed.index["frames"].any()
    assert not (out / "latents.zarr" / "00000").exists()
    if rendered:
        variant = killed.variants()[0]
        assert killed.unrendered_shards(variant) == [0]
        assert finish(start(encode)) == 0
        done = Cache(out)
        for name, grey in greys.items():
            assert abs(done.frames(name).mean() - grey) < 3
        assert done.unrendered_shards(variant) == [0]


@pytest.mark.slow
def test_latents_in_q8_go_on_to_the_same_bytes(folder: Path) -> None:
    """Killed while the latents of a shard are written; the shards done are not done again."""
    quiet, out = folder / "quiet-q8", folder / "driver-q8"
    encode, undisturbed = ([*encode_command(folder, p), "--latents", "q8"] for p in (out, quiet))
    assert finish(start(undisturbed)) == 0
    kill_driver_when(lambda: list(out.glob("latents.zarr/*.attempt-*")), encode)
    kill_driver_when(lambda: list(out.glob("receipts/encode/*.json")), encode)
    done = receipts(out, "encode")
    assert 0 < len(done) < SHARDS, "it was killed in the middle"
    assert finish(start(encode)) == 0
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert tree(out) == tree(quiet)


def kill_worker(job: Job, task: str) -> None:
    victims = wait_for(lambda: workers(job, task), job)
    assert isinstance(victims, list)
    victims[0].send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_killed_workers_do_no_harm(folder: Path) -> None:
    out = folder / "workers"
    job = start(encode_command(folder, out))
    kill_worker(job, "ingest")
    kill_worker(job, "encode")
    assert finish(job) == 0
    job = start(render_command(out))
    kill_worker(job, "render")
    assert finish(job) == 0
    assert tree(out) == tree(folder / "quiet")


def test_a_video_that_kills_its_worker_every_time_is_named_and_the_rest_is_done(folder: Path, tmp_path: Path) -> None:
    """Whoever reads 3.mp4 is killed, as soon as its decoder is seen: workers, and the process that tries it alone."""
    videos = tmp_path / "videos"
    shutil.copytree(folder / "videos", videos)
    # Long enough to decode for its reader to be caught at it.
    write_clip(videos / "3.mp4", np.tile(moving_square(50, 720, 1280), (8, 1, 1, 1)))
    job = start(encode_command(folder, folder / "culprit", root=videos))
    killed: set[int] = set()
    deadline = time.monotonic() + LIMIT
    while job.poll() is None and time.monotonic() < deadline:
        for reader in readers_of(f"file:{videos / '3.mp4'}"):
            os.kill(reader, signal.SIGKILL)
            killed.add(reader)
        time.sleep(0.01)
    assert finish(job) == 3
    assert len(killed) == 4, "three tries in a worker, one alone"
    index = Cache(folder / "culprit").index.set_index("video_id")
    assert index.loc["3.mp4", "status"] == "failed"
    assert "takes the process that reads it with it (SIGKILL)" in index.loc["3.mp4", "reason"]
    assert (index.drop("3.mp4")["status"] == "ok").all()
    assert readers_of(f"file:{videos / '3.mp4'}") == []


def readers_of(argument: str) -> list[int]:
    """The parents of the processes that have this argument."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if argument.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]))
        except OSError:
            continue
    return [pid for pid in found if pid > 1]

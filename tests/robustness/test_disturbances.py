"""The real command, disturbed by what is not storage: signals, short memory, other jobs, clocks, edits of its input."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from s2vc.pipeline.cache import Cache
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree
from tests.support.ld_preload import build
from tests.support.processes import LIMIT, end, finish, run, start, stopped, wait_for
from tests.support.reference_run import SHARDS, encode_command, render_command


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder / "quiet", tmp_path / "cache"))


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        ("encode", signal.SIGINT),
        pytest.param("render", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("encode", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("render", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_stopped_it_says_how_to_go_on_and_leaves_no_process(
    folder: Path, tmp_path: Path, command: str, sign: signal.Signals
) -> None:
    out = tmp_path / "cache"
    encode, render = encode_command(folder, out), render_command(out)
    if command == "render":
        assert finish(start(encode)) == 0
    job = start(render if command == "render" else encode)
    stage = "motion/*" if command == "render" else "ingest"
    wait_for(lambda: list(out.glob(f"receipts/{stage}/*.json")), job)
    below = psutil.Process(job.pid).children(recursive=True)
    assert below
    job.send_signal(sign)
    code, output = end(job)
    assert code == 130
    assert output.endswith("Stopped. What is finished is kept: run the same command again to go on.\n")
    assert "Traceback" not in output
    _, alive = psutil.wait_procs(below, timeout=LIMIT)
    assert alive == []
    for again in (encode, render):
        assert finish(start(again)) == 0
    assert tree(out) == tree(folder / "quiet")


@pytest.mark.slow
def test_memory_that_is_short_halves_the_batch_and_is_told_and_recorded(folder: Path, tmp_path: Path) -> None:
    """As a GPU's is when a flow is too wide for it; here, of the CPU, four frames fit and eight do not."""
    # In float32, of which it is known what fits.
    float32, enough, out = ("--precision", "float32"), tmp_path / "enough", tmp_path / "cache"
    for command in ([*encode_command(folder, enough), *float32], render_command(enough)):
        assert run(command)[0] == 0
    scarce = build("scarce", tmp_path)
    for command, task in (([*encode_command(folder, out), *float32], "encode"), (render_command(out), "render")):
        code, output = run(command, scarce)
        assert code == 0
        for shard in range(SHARDS):
            note = (
                f"{task} of shard {shard}: memory was short, so that 4 frames went through the flow at a time, not 64"
            )
            assert note in output
            assert note in (out / "log.txt").read_text().splitlines()
    assert run(["verify", out])[0] == 0
    made, undisturbed = tree(out), tree(enough)
    assert made.keys() == undisturbed.keys() | {"log.txt"}
    assert all(made[k] == undisturbed[k] for k in made if k.startswith(("frames", "small", "receipts/ingest")))
    # Fewer frames at a time change rounding, if anything.
    cache, quiet = Cache(out), Cache(enough)
    for video_id in cache.index["video_id"]:
        np.testing.assert_allclose(cache.latents(video_id), quiet.latents(video_id), rtol=2**-9, atol=1e-3)
        clips = [c.motion_preserved(video_id, "alpha0.5-zero-video").astype(int) for c in (cache, quiet)]
        assert np.abs(clips[0] - clips[1]).max() <= 2


@pytest.mark.slow
def test_a_second_job_is_refused_and_told_who_holds_the_cache(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    first = start(encode_command(folder, out))
    wait_for(lambda: list(out.glob("receipts/ingest/*.json")), first)
    with stopped([psutil.Process(first.pid)]):
        for command in (encode_command(folder, out), render_command(out), ["verify", out]):
            code, output = run(command)
            assert code == 2
            assert f"is in use by another job (process {first.pid} on {os.uname().nodename}); wait for it" in output
            assert output.count("\n") == 1
    assert finish(first) == 0
    assert run(render_command(out))[0] == 0
    assert tree(out) == tree(folder / "quiet")


@pytest.mark.slow
def test_time_stamps_mean_nothing(folder: Path, tmp_path: Path) -> None:
    """Sources and the cache's files from the future, and from before there were computers."""
    out, videos = copy_of(folder, tmp_path), tmp_path / "videos"
    shutil.copytree(folder / "videos", videos)
    for n, path in enumerate(sorted([*videos.rglob("*"), *out.rglob("*")])):
        stamp = (0, 2**32, 10**9)[n % 3]
        os.utime(path, (stamp, stamp))
    code, output = run(encode_command(folder, out, root=videos))
    assert code == 0
    assert "0 videos to do in 0 shards, 6 done before" in output
    code, output = run(render_command(out))
    assert code == 0
    assert f"0 frames to render in 0 shards, {SHARDS} shards done before" in output
    # A video that is another one is noticed under the time stamp that it had.
    stamp = (videos / "0.mp4").stat().st_mtime
    write_clip(videos / "0.mp4", moving_square(40, seed=9))
    os.utime(videos / "0.mp4", (stamp, stamp))
    code, output = run(["verify", out, "--sources", folder / "m.csv", "--root", videos])
    assert code == 1
    assert "0.mp4: its source has changed" in output


@pytest.mark.slow
@pytest.mark.parametrize("command", ["encode", "render"])
def test_a_clock_that_goes_a_day_back_while_it_works(folder: Path, tmp_path: Path, command: str) -> None:
    """In every process of the job at once; Ray's own start is over by then, which such a clock may hold up."""
    jumped, out = tmp_path / "jumped", tmp_path / "cache"
    jumps = build("jumps", tmp_path) | {"JUMP_WHEN": str(jumped)}
    commands = {"encode": encode_command(folder, out), "render": render_command(out)}
    if command == "render":
        assert run(commands["encode"])[0] == 0
    job = start(commands[command], jumps)
    stage = "motion/*" if command == "render" else "ingest"
    wait_for(lambda: list(out.glob(f"receipts/{stage}/*.json")), job)
    jumped.touch()
    assert finish(job) == 0
    if command == "encode":
        assert run(commands["render"])[0] == 0
    assert tree(out) == tree(folder / "quiet")


def swapped(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda lines: [lines[0], "new.mp4", *lines[2:]], "row 1 is 'new.mp4', in the cache it is '0.mp4'"),
        (swapped, "row 1 is '1.mp4', in the cache it is '0.mp4'"),
        (lambda lines: lines[:3] + lines[4:], "row 3 is '3.mp4', in the cache it is '2.mp4'"),
        (lambda lines: lines[:-1], "it ends after 5 rows, 6 are in the cache"),
    ],
)
def test_a_manifest_whose_rows_are_others_is_refused(
    folder: Path, tmp_path: Path, edit: Callable[[list[str]], list[str]], says: str
) -> None:
    (tmp_path / "m.csv").write_text("\n".join(edit((folder / "m.csv").read_text().splitlines())) + "\n")
    out = copy_of(folder, tmp_path)
    code, output = run([*encode_command(tmp_path, out), "--root", folder / "videos"])
    assert code == 2
    assert says in output
    assert output.count("\n") == 1
    assert tree(out) == tree(folder / "quiet")


@pytest.mark.slow
def test_labels_may_be_edited_and_rows_added(folder: Path, tmp_path: Path) -> None:
    out, videos = copy_of(folder, tmp_path), tmp_path / "videos"
    shutil.copytree(folder / "videos", videos)
    rows = [f"{n}.mp4,{n % 2},class{n % 2}" for n in range(6)]
    (tmp_path / "m.csv").write_text("\n".join(["video_id,label,class_name", *rows]) + "\n")
    code, output = run(encode_command(tmp_path, out))
    assert code == 0
    assert "0 videos to do in 0 shards" in output
    assert Cache(out).index["label"].tolist() == [0, 1] * 3
    made = {k: v for k, v in tree(out).items() if k not in ("index.csv", "cache.json")}
    write_clip(videos / "6.mp4", moving_square(30, seed=6))
    (tmp_path / "m.csv").write_text("\n".join(["video_id,label,class_name", *rows, "6.mp4,1,class1"]) + "\n")
    code, output = run(encode_command(tmp_path, out))
    assert code == 0
    assert "1 video to do in 1 shard, 6 done before" in output
    assert made.items() <= tree(out).items()
    assert Cache(out).latents("6.mp4").shape[0] == 30

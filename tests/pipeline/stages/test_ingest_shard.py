"""Ingest on real files, sound and broken: each ends as ok, partial or failed, with a reason, the others untouched."""

import csv
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from s2vc.pipeline.cache.frames import pool_small, read_frames, read_small
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.receipts import Receipt
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.stages.ffmpeg_process import ffmpeg_binary
from s2vc.pipeline.stages.ingest_shard import Source, StorageError, ingest_shard
from s2vc.pipeline.stages.video import decode_video
from s2vc.pipeline.storage.hdf5 import read_array
from tests.support.clips import moving_square, write_clip
from tests.support.processes import below

SETTINGS = Settings((64, 80), 95, 1, 16, "default", "", "float32")


def ingest(root: Path, out: Path, *paths: str, silence: float = 60, **changed: object) -> Receipt:
    """Ingest files of a folder as one shard."""
    import dataclasses

    settings = dataclasses.replace(SETTINGS, **changed)  # type: ignore[arg-type]
    return ingest_shard(Layout(out), settings, 0, [Source(p, p) for p in paths], root, silence)


def ffmpeg(*arguments: object) -> None:
    subprocess.run([ffmpeg_binary(), "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good.mp4 (20 frames) and every kind of trouble."""
    root = tmp_path_factory.mktemp("root")
    good = root / "good.mp4"
    write_clip(good, moving_square(20))
    (root / "zero bytes.mp4").touch()
    (root / "folder.mp4").mkdir()
    (root / "text.mp4").write_text("this is no video\n" * 50)
    (root / "playlist.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n")
    (root / "concat.mp4").write_text("ffconcat version 1.0\nfile 'good.mp4'\n")
    (root / "cut off.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    os.mkfifo(root / "pipe.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", root / "sound.m4a")
    ffmpeg("-i", good, "-c", "copy", "-f", "mpegts", root / "whole.ts")
    (root / "cut off.ts").write_bytes((root / "whole.ts").read_bytes()[: (root / "whole.ts").stat().st_size * 2 // 3])
    outside = tmp_path_factory.mktemp("outside") / "secret.mp4"
    outside.write_bytes(good.read_bytes())
    (root / "link out.mp4").symlink_to(outside)
    (root / "link in.mp4").symlink_to(good)
    return root


TROUBLE = {
    "zero bytes.mp4": "empty",
    "folder.mp4": "folder",
    "text.mp4": "no video",
    "playlist.mp4": "playlist",
    "concat.mp4": "playlist",
    "pipe.mp4": "no regular file",
    "sound.m4a": "no video stream",
    "not there.mp4": "no such file",
    "../outside.mp4": "leaves the root",
    "/etc/passwd": "leaves the root",
    "link out.mp4": "link leads out",
    "good.mp4/inside.mp4": "no such file",
}


def test_each_trouble_ends_as_failed_with_its_reason_and_the_others_are_untouched(root: Path, tmp_path: Path) -> None:
    names = list(TROUBLE)
    around = ["good.mp4", *names, "link in.mp4"]
    receipt = ingest(root, tmp_path / "out", *around)
    assert [v.video_id for v in receipt.videos] == around
    by_id = {v.video_id: v for v in receipt.videos}
    for name, reason in TROUBLE.items():
        assert (by_id[name].status, by_id[name].frames) == ("failed", 0), name
        assert reason in by_id[name].reason, name
    assert (by_id["good.mp4"].status, by_id["good.mp4"].frames) == ("ok", 20)
    alone = ingest(root, tmp_path / "alone", "good.mp4")
    assert by_id["good.mp4"] == alone.videos[0]
    frames, lonely = Layout(tmp_path / "out").frames(0), Layout(tmp_path / "alone").frames(0)
    np.testing.assert_array_equal(read_frames(frames, 0, 20), read_frames(lonely, 0, 20))
    np.testing.assert_array_equal(read_frames(frames, 20, 40), read_frames(lonely, 0, 20))
    assert read_array(frames, "video_offsets").tolist() == [0] + [20] * (len(names) + 1) + [40]


def test_files_that_break_off_give_the_frames_there_are(root: Path, tmp_path: Path) -> None:
    stream, indexed = ingest(root, tmp_path, "cut off.ts", "cut off.mp4").videos
    assert 0 < stream.frames < 20, "a stream has no index, so its end is wherever it ends"
    assert 0 < indexed.frames < 20
    assert indexed.status == "partial"
    assert "the file ends early: its container declares" in indexed.reason


def test_damage_in_the_middle_is_partial(root: Path, tmp_path: Path) -> None:
    broken = bytearray((root / "good.mp4").read_bytes())
    start = broken.index(b"mdat") + 2000
    broken[start : start + 600] = bytes(600)
    (tmp_path / "damaged.mp4").write_bytes(broken)
    (video,) = ingest(tmp_path, tmp_path / "out", "damaged.mp4").videos
    assert video.status == "partial"
    assert video.frames > 0
    assert "the decoder said" in video.reason


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        'it\'s "quoted".mp4',
        "ünïcödé 日本.mp4",
        "-dash.mp4",
        "%03d.mp4",
        "a:b.mp4",
        "$(x);&.mp4",
        "=1+1.mp4",
    ],
)
def test_odd_names_are_names(name: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes((root / "good.mp4").read_bytes())
    (video,) = ingest(tmp_path, tmp_path / "out", name).videos
    assert (video.status, video.frames) == ("ok", 20)


def test_every_file_of_the_decoder_set_gives_the_frames_a_careful_decoder_gets(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "decoder"
    with (folder / "files.csv").open() as file:
        expected = {row["file"]: int(row["decoded_frames"]) for row in csv.DictReader(file)}
    # The table has the first video stream of each file. These two have another one with more pixels, or with frames
    # (PyAV 18 counts the same in it).
    expected |= {"tc_nasa_13013.mp4": 390, "hachoir_matrix_ping_pong.wmv": 44}
    receipt = ingest(folder, tmp_path, *expected)
    got = {v.video_id: v.frames for v in receipt.videos}
    assert got == expected
    for video in receipt.videos:
        assert (video.status == "failed") == (video.frames == 0)
        assert bool(video.reason) == (video.status != "ok")


def test_rotation_is_applied(shared: Path) -> None:
    # The three files show one scene, recorded upright, upside down and on its side.
    taken: dict[str, np.ndarray] = {}
    for turn in ("0", "180"):
        path = shared / "data" / "decoder" / f"decord_video_{turn}.mov"
        decode_video(path, 64, 64, lambda f, turn=turn: taken.setdefault(turn, f.astype(float)))  # type: ignore[misc]
    upright = np.abs(taken["0"][0] - taken["180"][0]).mean()
    turned = np.abs(taken["0"][0] - taken["180"][0, ::-1, ::-1]).mean()
    assert upright < turned


def test_variable_frame_rate_gives_every_frame_once(tmp_path: Path, root: Path) -> None:
    # Two copies at different speeds, one after the other, with time stamps kept.
    ffmpeg(
        "-i", root / "good.mp4", "-i", root / "good.mp4",
        "-filter_complex", "[1:v]setpts=7*PTS[slow];[0:v][slow]concat=n=2:v=1", "-fps_mode", "vfr",
        tmp_path / "vfr.mp4",
    )  # fmt: skip
    (video,) = ingest(tmp_path, tmp_path / "out", "vfr.mp4").videos
    assert (video.status, video.frames) == ("ok", 40)


def test_a_single_frame_and_a_100_megapixel_frame(tmp_path: Path) -> None:
    write_clip(tmp_path / "one.mp4", moving_square(1))
    ffmpeg("-f", "lavfi", "-i", "color=red:s=12000x8400:d=0.04:r=25", "-c:v", "mjpeg", tmp_path / "huge.avi")
    one, huge = ingest(tmp_path, tmp_path / "out", "one.mp4", "huge.avi").videos
    assert (one.status, one.frames) == ("ok", 1)
    assert (huge.status, huge.frames, huge.width, huge.height) == ("ok", 1, 12000, 8400)


def test_frame_step_takes_every_nth_frame(root: Path, tmp_path: Path) -> None:
    ingest(root, tmp_path / "all", "good.mp4")
    (video,) = ingest(root, tmp_path / "thin", "good.mp4", frame_step=3).videos
    assert video.frames == 7
    every = read_frames(Layout(tmp_path / "all").frames(0), 0, 20)
    np.testing.assert_array_equal(read_frames(Layout(tmp_path / "thin").frames(0), 0, 7), every[::3])


def test_small_is_the_pool_of_the_frames_as_they_decode(root: Path, tmp_path: Path) -> None:
    ingest(root, tmp_path, "good.mp4")
    frames = read_frames(Layout(tmp_path).frames(0), 0, 20)
    small = read_small(Layout(tmp_path).small(0), 0, 20)
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(frames).permute(0, 3, 1, 2).double(), 64)
    assert float((pooled.permute(0, 2, 3, 1) - torch.from_numpy(small)).abs().max()) <= 0.5


def test_small_frames_of_a_flat_image_are_flat() -> None:
    assert (pool_small(np.full((2, 71, 133, 3), 77, np.uint8)) == 77).all()


def test_stored_frames_are_close_to_the_source(root: Path, tmp_path: Path) -> None:
    ingest(root, tmp_path, "good.mp4")
    source: list[np.ndarray] = []
    decode_video(root / "good.mp4", 64, 80, source.append)
    stored = read_frames(Layout(tmp_path).frames(0), 0, 20)
    error = np.concatenate(source).mean(axis=-1) - stored.mean(axis=-1)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 33, "peak signal to noise of the grey values, in dB"


def test_the_receipt_names_source_size_and_hash(root: Path, tmp_path: Path) -> None:
    import hashlib

    (video,) = ingest(root, tmp_path, "good.mp4").videos
    content = (root / "good.mp4").read_bytes()
    assert (video.bytes, video.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (video.width, video.height, video.fps) == (128, 96, "25")


def test_a_root_that_is_gone_blames_no_video(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    with pytest.raises(StorageError, match="mounted"):
        ingest(tmp_path / "mount", tmp_path / "out", "a.mp4")
    assert not Layout(tmp_path / "out").frames(0).exists()


def ffmpeg_children() -> list[psutil.Process]:
    return below(os.getpid(), lambda process: "ffmpeg" in process.name())


def send_to_ffmpeg(number: signal.Signals, times: int) -> threading.Thread:
    """A thread that sends a signal to the next `times` ffmpeg children of this process, once each."""

    def run() -> None:
        met: set[int] = set()
        while len(met) < times:
            for process in ffmpeg_children():
                if process.pid not in met:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(number)
                        met.add(process.pid)
            time.sleep(0.001)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """slow.mp4: 150 large frames, which take ffmpeg a while."""
    root = tmp_path_factory.mktemp("slow")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:d=6:r=25", root / "slow.mp4")
    return root


def test_a_decoder_that_hangs_is_tried_twice_and_ended(slow: Path, tmp_path: Path) -> None:
    thread = send_to_ffmpeg(signal.SIGSTOP, 2)
    (video,) = ingest(slow, tmp_path, "slow.mp4", silence=1.0).videos
    thread.join(5)
    assert (video.status, video.frames) == ("failed", 0)
    assert "twice" in video.reason
    assert ffmpeg_children() == []


def test_a_decoder_that_hangs_once_does_no_harm(slow: Path, tmp_path: Path) -> None:
    quiet = ingest(slow, tmp_path / "quiet", "slow.mp4")
    thread = send_to_ffmpeg(signal.SIGSTOP, 1)
    disturbed = ingest(slow, tmp_path / "disturbed", "slow.mp4", silence=1.0)
    thread.join(5)
    assert disturbed == quiet


def test_ffmpeg_killed_once_gives_the_same_bytes_and_killed_again_blames_no_video(slow: Path, tmp_path: Path) -> None:
    quiet = ingest(slow, tmp_path / "quiet", "slow.mp4")
    thread = send_to_ffmpeg(signal.SIGKILL, 1)
    assert ingest(slow, tmp_path / "once", "slow.mp4") == quiet
    thread.join(5)
    thread = send_to_ffmpeg(signal.SIGKILL, 2)
    with pytest.raises(OSError, match="SIGKILL"):
        ingest(slow, tmp_path / "twice", "slow.mp4")
    thread.join(5)
    assert not Layout(tmp_path / "twice").receipt("ingest", 0).exists()


def test_links_in_a_circle_fail_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "good.mp4").write_bytes((root / "good.mp4").read_bytes())
    (tmp_path / "one.mp4").symlink_to("two.mp4")
    (tmp_path / "two.mp4").symlink_to("one.mp4")
    for follow_links in (False, True):
        out = tmp_path / f"out{follow_links}"
        videos = ingest(tmp_path, out, "good.mp4", "one.mp4", "two.mp4", follow_links=follow_links).videos
        assert [v.status for v in videos] == ["ok", "failed", "failed"]
        assert videos[1].reason in ("its links lead in a circle", "Too many levels of symbolic links")

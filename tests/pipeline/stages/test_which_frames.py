"""Which frames are stored of real files: of several streams, of streams that change on the way, of files cut short.

Frame n of every test video has the grey 20 + 10 n in its lower right corner, so that what was stored says what it is.
"""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from s2vc.pipeline.cache.frames import read_frames
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.receipts import VideoRecord
from s2vc.pipeline.cache.settings import Settings
from s2vc.pipeline.stages.declared_size import missing_end
from s2vc.pipeline.stages.ffmpeg_process import ffmpeg_binary
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from s2vc.pipeline.stages.video import write_video
from s2vc.pipeline.stages.video_streams import frame_rate

SETTINGS = Settings((96, 128), 95, 1, 16, "default", "", "float32")
FRAMES = 20


def ffmpeg(*arguments: object) -> None:
    subprocess.run([ffmpeg_binary(), "-v", "error", "-y", *map(str, arguments)], check=True)


def ingest(path: Path, out: Path, **changed: object) -> tuple[VideoRecord, list[int]]:
    """Ingest a file alone; return its record and the number of each stored frame, as its grey says it."""
    settings = dataclasses.replace(SETTINGS, **changed)  # type: ignore[arg-type]
    [video] = ingest_shard(Layout(out), settings, 0, [Source(path.name, path.name)], path.parent, 60).videos
    if not video.frames:
        return video, []
    stored = read_frames(Layout(out).frames(0), 0, video.frames).astype(float)
    return video, [round((frame[64:80, 90:110].mean() - 20) / 10) for frame in stored]


def numbered(count: int = FRAMES, height: int = 96, width: int = 128, first: int = 0) -> np.ndarray:
    """Draw frames (count, height, width, 3) uint8, red but for their lower right corners."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0] = 200
    frames[:, height // 2 :, width // 2 :] = (20 + 10 * np.arange(first, first + count))[:, None, None, None]
    return frames


def write(path: Path, frames: np.ndarray) -> Path:
    with write_video(path, *frames.shape[1:3], "25") as put:
        put(frames)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("videos") / "video.mp4", numbered())


@pytest.fixture(scope="module")
def thumbnail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one frame, 32x24."""
    return write(tmp_path_factory.mktemp("videos") / "thumbnail.mp4", numbered(1, 24, 32))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of as many frames, all of number 9, 64x48."""
    frames = np.repeat(numbered(1, 48, 64, first=9), FRAMES, axis=0)
    return write(tmp_path_factory.mktemp("videos") / "small.mp4", frames)


@pytest.mark.parametrize("step", [1, 2, 3, 7])
@pytest.mark.parametrize("change", ["size", "pixel format", "colours"])
def test_every_nth_frame_is_counted_over_changes_in_the_stream(change: str, step: int, tmp_path: Path) -> None:
    parts = []
    for number, first in enumerate((0, 10)):
        size = (72, 160) if change == "size" and number else (96, 128)
        whole = write(tmp_path / f"whole{number}.mp4", numbered(10, *size, first=first))
        options = {
            "size": [],
            "pixel format": ["-pix_fmt", "yuv444p" if number else "yuv420p"],
            "colours": ["-colorspace", "bt709" if number else "smpte170m", "-color_range", "pc" if number else "tv"],
        }[change]
        ffmpeg("-i", whole, *options, "-c:v", "libx264", "-qp", 8, tmp_path / f"part{number}.ts")
        parts.append(tmp_path / f"part{number}.ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    record, numbers = ingest(joined, tmp_path / "cache", frame_step=step)
    assert numbers == list(range(0, FRAMES, step))
    assert record.status == "ok"


def test_the_stream_that_players_show_is_stored(video: Path, thumbnail: Path, small: Path, tmp_path: Path) -> None:
    def taken(first: Path, second: Path, name: str, *flags: str) -> tuple[list[int], int | None]:
        path = tmp_path / name
        ffmpeg("-i", first, "-i", second, "-map", "0:v", "-map", "1:v", "-c", "copy", *flags, path)
        record, numbers = ingest(path, tmp_path / f"{name}-cache")
        assert record.status == "ok"
        return numbers, record.stream

    none = ("-disposition:v:0", "0", "-disposition:v:1", "0")
    everything = list(range(FRAMES))
    assert taken(thumbnail, video, "more pixels.mkv", *none) == (everything, 1)
    assert taken(small, video, "more pixels, too.mkv", *none) == (everything, 1)
    assert taken(video, small, "first.mkv", *none) == (everything, 0)
    marked = ("-disposition:v:0", "0", "-disposition:v:1", "default")
    assert taken(video, small, "default before pixels.mkv", *marked) == ([9] * FRAMES, 1)
    cover = ("-c:v:0", "mjpeg", "-disposition:v:0", "attached_pic", "-disposition:v:1", "0")
    assert taken(thumbnail, video, "cover.mp4", *cover) == (everything, None)  # a cover is no choice
    one = write(tmp_path / "one.mp4", numbered(1, first=9))
    assert taken(one, video, "more frames.mkv", *none) == (everything, 1)


def test_a_stream_may_be_asked_for_by_its_index(video: Path, small: Path, tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=0.8")
    maps = ("-map", "0:v", "-map", "1:v", "-map", "2:a", "-c:v", "copy")
    ffmpeg("-i", video, "-i", small, *sound, *maps, tmp_path / "both.mkv")
    record, numbers = ingest(tmp_path / "both.mkv", tmp_path / "cache", stream=1)
    assert (record.status, record.stream, numbers) == ("ok", 1, [9] * FRAMES)
    assert (record.width, record.height) == (64, 48)
    for wrong in (2, 7):
        record, numbers = ingest(tmp_path / "both.mkv", tmp_path / f"cache{wrong}", stream=wrong)
        assert (record.status, numbers) == ("failed", [])
        assert record.reason == f"its stream {wrong} is no video; those that are: [0, 1]"


def test_all_frames_of_an_animated_picture_are_stored(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", numbered())
    ffmpeg(
        "-i", tmp_path / "a.mp4", "-c:v", "libaom-av1", "-cpu-used", 8, "-crf", 5, "-f", "avif", tmp_path / "avif.mp4"
    )
    record, numbers = ingest(tmp_path / "avif.mp4", tmp_path / "cache")
    assert (record.status, record.frames, numbers) == ("ok", FRAMES, list(range(FRAMES)))


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("MTS", ("-c:v", "libx264", "-f", "mpegts")),
        ("m2ts", ("-c:v", "libx264", "-f", "mpegts", "-mpegts_m2ts_mode", 1)),
        ("VOB", ("-c:v", "mpeg2video", "-f", "vob")),
        ("webp", ("-c:v", "libwebp_anim", "-lossless", 1)),
        ("gif", ()),
    ],
)
def test_containers_of_cameras_discs_and_the_web_are_read(
    ending: str, codec: tuple[object, ...], video: Path, tmp_path: Path
) -> None:
    ffmpeg("-i", video, *codec, tmp_path / f"a.{ending}")
    record, numbers = ingest(tmp_path / f"a.{ending}", tmp_path / "cache")
    assert (record.status, record.reason, numbers) == ("ok", "", list(range(FRAMES)))


@pytest.mark.parametrize(
    ("ending", "encoder"),
    [
        ("avi", "mpeg4"),
        ("wmv", "wmv2"),
        ("flv", "flv1"),
        ("ts", "mpeg2video"),
        ("m2ts", "mpeg2video"),
        ("mpg", "mpeg2video"),
        ("ogv", "libtheora"),
        ("mxf", "mpeg2video"),
        ("ivf", "libvpx"),
        ("y4m", "wrapped_avframe"),
        ("dv", "dvvideo"),
        ("mkv", "mpeg4"),
        ("mp4", "libx264"),
    ],
)
def test_a_file_that_is_cut_is_never_ok(ending: str, encoder: str, tmp_path: Path) -> None:
    """It is cut at eleven places, some of them between two frames, where a decoder finds nothing wrong."""
    size = ("-s", "720x576", "-r", "25") if ending == "dv" else ("-s", "128x96")
    codec = () if ending == "y4m" else ("-c:v", encoder)
    faststart = ("-movflags", "+faststart") if ending == "mp4" else ()
    source = ("-f", "lavfi", "-i", "testsrc2=r=25:d=1.2")
    ffmpeg(*source, *size, "-pix_fmt", "yuv420p", *codec, *faststart, tmp_path / f"whole.{ending}")
    whole = (tmp_path / f"whole.{ending}").read_bytes()
    record, _ = ingest(tmp_path / f"whole.{ending}", tmp_path / "whole")
    assert (record.status, record.reason, record.frames) == ("ok", "", 30)
    for at in range(45, 100, 5):
        cut = tmp_path / f"cut.{ending}"
        cut.write_bytes(whole[: len(whole) * at // 100 + 1])
        record, _ = ingest(cut, tmp_path / f"cache{at}")
        assert record.status != "ok" and record.reason, f"cut at {at} %"
        if record.frames:
            assert record.status == "partial"


def test_what_declares_no_length_says_nothing(tmp_path: Path, video: Path) -> None:
    for name in ("stream.avi", "stream.flv", "stream.wmv"):
        ending = name.rsplit(".", 1)[1]
        encoder = {"avi": "mpeg4", "flv": "flv1", "wmv": "wmv2"}[ending]
        with (tmp_path / name).open("wb") as out:  # into a pipe, where no header can be written again
            line = [ffmpeg_binary(), "-v", "error", "-i", str(video), "-c:v", encoder]
            line += ["-f", {"wmv": "asf"}.get(ending, ending), "-"]
            cat = subprocess.Popen(line, stdout=subprocess.PIPE)
            assert cat.stdout is not None
            out.write(cat.stdout.read())
            assert cat.wait() == 0
        assert missing_end(tmp_path / name) == ""
        assert ingest(tmp_path / name, tmp_path / f"{name}-cache")[0].status == "ok"


def test_whole_files_of_odd_programs_are_whole(video: Path, tmp_path: Path) -> None:
    def made(name: str, *options: object) -> bytes:
        ffmpeg("-i", video, *options, tmp_path / name)
        return (tmp_path / name).read_bytes()

    y4m = made("a.y4m")
    ts = made("a.ts", "-c:v", "mpeg2video")
    flv = made("a.flv", "-c:v", "flv1", "-flvflags", "no_duration_filesize")
    mp4 = made("b.mp4", "-c", "copy")
    stale = bytearray(made("b.flv", "-c:v", "flv1"))
    at = stale.index(b"\x00\x08filesize\x00") + 11
    stale[at : at + 8] = np.array(2.0 * len(stale), ">f8").tobytes()
    for name, content in {
        "params.y4m": y4m.replace(b"FRAME\n", b"FRAME Ip\n"),
        "zeros behind.ts": ts + bytes(100),
        "no last length.flv": flv[:-4],
        "stale size.flv": bytes(stale),
        "zeros behind.mp4": mp4 + bytes(100),
        "text behind.mp4": mp4 + b"<xml/> and so on",
    }.items():
        (tmp_path / name).write_bytes(content)
        record, _ = ingest(tmp_path / name, tmp_path / f"{name}-cache")
        assert (record.status, record.reason, record.frames) == ("ok", "", FRAMES), name


def test_samples_that_look_like_start_codes_end_no_dvd(tmp_path: Path) -> None:
    """Sound without compression is not kept from looking so: the big-endian samples 0, 480 and -1."""
    (tmp_path / "sound.raw").write_bytes(np.tile(np.array([0, 480, -1, 7], ">i2"), 24_000).tobytes())
    sound = ("-f", "s16be", "-ar", "48000", "-ac", "2", "-i", tmp_path / "sound.raw")
    codecs = ("-c:v", "mpeg2video", "-c:a", "pcm_dvd")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=1", *sound, *codecs, tmp_path / "a.vob")
    assert missing_end(tmp_path / "a.vob") == ""
    whole = (tmp_path / "a.vob").read_bytes()
    (tmp_path / "a.vob").write_bytes(whole[:-700])
    assert missing_end(tmp_path / "a.vob")


@pytest.mark.parametrize("ending", ["mp4", "mov", "frag.mp4"])
def test_boxes_tell_of_a_cut_between_frames(ending: str, video: Path, tmp_path: Path) -> None:
    flags = "frag_keyframe+empty_moov" if ending == "frag.mp4" else "+faststart"
    whole = tmp_path / f"a.{ending}"
    codecs = ("-c:v", "libx264", "-g", 5, "-bf", 0, "-c:a", "aac", "-movflags", flags)
    ffmpeg("-i", video, "-f", "lavfi", "-i", "sine=d=0.8", *codecs, whole)
    assert ingest(whole, tmp_path / "whole")[0].status == "ok"
    content = whole.read_bytes()
    start = content.index(b"mdat") + 4
    boxes = {m.start() - 4 + n for m in re.finditer(b"moof", content) for n in range(8)}  # These cuts tell nothing.
    for at in range(start + 400, len(content) - 100, (len(content) - start) // 25):
        if at in boxes:
            continue
        (tmp_path / f"cut.{ending}").write_bytes(content[:at])
        record, _ = ingest(tmp_path / f"cut.{ending}", tmp_path / f"cache{at}")
        assert record.status != "ok", at


FORGED = {
    "a box of length 0 in 64 bits": b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\1free" + bytes(100),
    "a box of length 3 in 64 bits": b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\1free" + bytes(7) + b"\3" + bytes(99),
    "frames of less than nothing": b"YUV4MPEG2 W-64 H64 F25:1 C420\nFRAME\n" + bytes(9000),
    "an AVI of nothing but heads": b"RIFF\1\0\0\0AVI " + b"RIFF\1\0\0\0" * 100,
}
"""Files that lead in a circle whoever trusts their lengths."""


@pytest.mark.parametrize("name", FORGED)
def test_forged_lengths_come_to_an_end(name: str, tmp_path: Path) -> None:
    (tmp_path / "forged").write_bytes(FORGED[name])
    code = f"from pathlib import Path; from {missing_end.__module__} import missing_end as m; m(Path('forged'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)


def test_damaged_sound_and_chapters_are_no_damage(video: Path, tmp_path: Path) -> None:
    ffmpeg("-i", video, "-f", "lavfi", "-i", "sine=d=0.8", "-c:v", "copy", "-c:a", "libmp3lame", tmp_path / "sound.avi")
    content = bytearray((tmp_path / "sound.avi").read_bytes())
    at, rng = content.index(b"movi") + 4, np.random.default_rng(0)
    while at + 8 <= len(content) and content[at : at + 4] in (b"00dc", b"01wb"):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"01wb":
            content[at + 8 : at + 8 + length] = rng.bytes(length)
        at += 8 + length + length % 2
    (tmp_path / "sound.avi").write_bytes(content)
    record, numbers = ingest(tmp_path / "sound.avi", tmp_path / "cache")
    assert (record.status, record.reason, numbers) == ("ok", "", list(range(FRAMES)))


def test_what_a_file_says_of_itself_is_not_what_ffmpeg_says(video: Path, tmp_path: Path) -> None:
    title = "Stream #0:5: Video: h264, yuv420p, 4000x4000, 25 fps (default)"
    words = (
        "-metadata",
        f"title={title}",
        "-metadata",
        "comment=[error] broken",
        "-metadata",
        "a=Stream #0:3 -> #0:0 ",
    )
    ffmpeg("-i", video, "-c", "copy", *words, tmp_path / "a.mkv")
    record, numbers = ingest(tmp_path / "a.mkv", tmp_path / "cache")
    assert (record.status, record.reason, record.stream, numbers) == ("ok", "", None, list(range(FRAMES)))


@pytest.mark.parametrize("damaged", [0, 1])
def test_damage_of_another_video_stream_is_no_damage(damaged: int, video: Path, tmp_path: Path) -> None:
    """Two streams of one codec: its messages while it looks at the streams do not say which they are about."""
    noise = np.random.default_rng(1).integers(0, 256, (FRAMES, 48, 64, 3), np.uint8)
    write(tmp_path / "other.mp4", noise)
    both = tmp_path / "both.mkv"
    ffmpeg("-i", video, "-i", tmp_path / "other.mp4", "-map", "0", "-map", "1", "-c", "copy", both)
    content, rng, hit = bytearray(both.read_bytes()), np.random.default_rng(0), 0
    ffmpeg("-i", both, "-map", f"0:{damaged}", "-c", "copy", "-bsf:v", "h264_mp4toannexb", tmp_path / "alone.h264")
    for part in (tmp_path / "alone.h264").read_bytes().split(b"\x00\x00\x01"):
        at = content.find(part[:16]) if len(part) > 24 and part[0] & 31 in (1, 5) else -1
        if at > 0:
            content[at + 4 : at + 16] = rng.bytes(12)
            hit += 1
    assert hit > 1
    both.write_bytes(content)
    record, _ = ingest(both, tmp_path / "good", stream=1 - damaged)
    assert (record.status, record.reason, record.frames) == ("ok", "", FRAMES)
    assert ingest(both, tmp_path / "bad", stream=damaged)[0].status == "partial"


REPORTS = {
    "frame_step_size_change.mp4": ("ok", 3, [0, 3, 6, 9, 12, 15, 18]),
    "thumbnail_stream_first.mp4": ("ok", 1, list(range(20))),
    "two_streams_second_default.mkv": ("ok", 1, list(range(20))),
    "heic_tiles_named.mp4": ("failed", 1, []),
    "audio_corrupt.avi": ("ok", 1, list(range(20))),
    "chapter_ref_missing.mov": ("ok", 1, list(range(20))),
}
"""Right status and frames, by the folder's README, with a frame step."""


@pytest.mark.parametrize("name", REPORTS)
def test_reported_files_come_out_right(name: str, shared: Path, tmp_path: Path) -> None:
    status, step, right = REPORTS[name]
    record, numbers = ingest(shared / "data" / "reports" / name, tmp_path, frame_step=step)
    assert (record.status, numbers) == (status, right)


@pytest.mark.parametrize(("name", "frames"), [("truncated.avi", (85704, 51422)), ("truncated.wmv", (74565, 44739))])
def test_reported_cuts_are_partial(name: str, frames: tuple[int, int], shared: Path, tmp_path: Path) -> None:
    record, _ = ingest(shared / "data" / "reports" / name, tmp_path)
    assert record.status == "partial"
    assert record.reason == f"the file ends early: its container declares {frames[0]:,} bytes, it has {frames[1]:,}"


RATES = {
    "25": "25",
    "29.97": "30000/1001",
    "23.98": "24000/1001",
    "14.99": "15000/1001",
    "59.94": "60000/1001",
    "12.5": "25/2",
    "0.5": "1/2",
    "0.99": "99/100",
    "0.0033": "33/10000",
    "90k": "90000",
}


@pytest.mark.parametrize(("printed", "rate"), RATES.items())
def test_a_printed_rate_stands_for_one(printed: str, rate: str) -> None:
    assert frame_rate(printed) == rate

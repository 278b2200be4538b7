"""`s2vc-prep export` writes clips that any program reads, where their names say, and nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import simplejpeg
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.export import video_files
from s2vc.pipeline.export.export import plan_exports
from s2vc.pipeline.stages.video import Decoded, decode_video, write_video
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.held import held
from tests.conftest import CLIPS, FRAME_SIZE, VARIANTS
from tests.support.clips import moving_square, write_clip
from tests.support.hashes import tree

VIDEO, CLIP, _ = VARIANTS
ODD_SIZE = (71, 97)
NTSC = "30000/1001"
FILM = "Ünïcode Ordner/日本 film.v2.avi"


def decoded(path: Path, height: int, width: int) -> tuple[np.ndarray, Decoded]:
    """Frames of a video file (T, height, width, 3) uint8, which has that size, and what the decoder says of it."""
    pieces: list[np.ndarray] = []
    result = decode_video(path, height, width, pieces.append)
    assert (result.height, result.width, result.errors) == (height, width, [])
    return np.concatenate(pieces), result


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in brightness, in grey levels; colours, halved in size, differ more."""
    assert a.shape == b.shape
    return float(np.abs((a.astype(float) - b) @ [0.299, 0.587, 0.114]).mean())


def below(folder: Path) -> set[str]:
    """All clips under a folder, relative to it."""
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {path for path in files if path.endswith((".mp4", ".jpg", ".mov", ".txt", ".tar"))} - set(_lists(files))


def _lists(files: set[str]) -> list[str]:
    return [path for path in files if path.endswith(("_train.txt", "_test.txt", "_val.txt"))]


@pytest.fixture(scope="module")
def odd_cache(cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Odd-sized frames: every second one of a film at 29.97 frames/s, and two videos that differ in ending."""
    folder = tmp_path_factory.mktemp("odd")
    write_clip(folder / FILM, moving_square(9), NTSC)
    for name in ("x/same.mp4", "x/same.mov"):
        write_clip(folder / name, moving_square(3))
    ids = [FILM, "x/same.mp4", "x/same.mov"]
    (folder / "manifest.csv").write_text("\n".join(["video_id", *ids]) + "\n")
    size = "x".join(map(str, ODD_SIZE))
    result = cli("encode", folder / "manifest.csv", "--out", folder / "cache", "--size", size, "--frame-step", 2)
    assert result.exit_code == 0, result.output
    return folder / "cache"


@pytest.fixture
def renamed(cache_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the cache whose index gives the first videos other names, as one who means harm would."""

    def rename(*names: str) -> Path:
        copy = Path(shutil.copytree(cache_path, tmp_path / "renamed"))
        index = pd.read_csv(copy / "index.csv", dtype=str, keep_default_na=False)
        index.loc[: len(names) - 1, "video_id"] = list(names)
        index.to_csv(copy / "index.csv", index=False)
        return copy

    return rename


# MP4


def test_mp4s_hold_the_motion_preserved_frames(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    result = cli("export", cache_path, "--variant", VIDEO, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "5 clips of 5 videos" in result.output
    assert "1 failed skipped" in result.output
    cache = Cache(cache_path)
    assert below(tmp_path / "out") == {f"{VIDEO}/{v.removesuffix('.mp4')}.mp4" for v in CLIPS}
    for video_id, (frames, _) in CLIPS.items():
        clip, said = decoded(tmp_path / "out" / VIDEO / video_id, *FRAME_SIZE)
        expected = cache.motion_preserved(video_id, VIDEO)
        assert len(clip) == frames
        assert said.fps == "25"
        assert difference(clip, expected) < 3
        assert difference(clip, cache.frames(video_id)) > 10


def test_stored_frames_are_exported_as_original(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    call = ["--variant", "original", "--video", "slide/b c.mp4", "--out", tmp_path / "out"]
    result = cli("export", cache_path, *call)
    assert result.exit_code == 0, result.output
    assert below(tmp_path / "out") == {"original/slide/b c.mp4"}
    clip, _ = decoded(tmp_path / "out/original/slide/b c.mp4", *FRAME_SIZE)
    assert difference(clip, Cache(cache_path).frames("slide/b c.mp4")) < 3


def test_odd_sizes_are_made_even_and_rates_follow_the_frame_step(odd_cache: Path, tmp_path: Path) -> None:
    (export,) = plan_exports(Cache(odd_cache), ("original",), tmp_path, video_ids=(FILM,))
    for part in export.parts:
        export.write(part)
    path = tmp_path / "original/Ünïcode Ordner/日本 film.v2.mp4"
    clip, said = decoded(path, 72, 98)
    assert len(clip) == 5
    assert float(Fraction(said.fps)) == pytest.approx(30000 / 1001 / 2, abs=0.01)
    expected = np.pad(Cache(odd_cache).frames(FILM), ((0, 0), (0, 1), (0, 1), (0, 0)), "edge")
    assert difference(clip, expected) < 3


def test_the_same_export_gives_the_same_bytes_in_pieces_of_any_size(
    cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for size in (64, 7):
        monkeypatch.setattr(video_files, "PIECE_FRAMES", size)
        (export,) = plan_exports(Cache(cache_path), (VIDEO,), tmp_path / str(size), video_ids=("slide/a.mp4",))
        export.write(export.parts[0])
        written.append((export.folder / "slide/a.mp4").read_bytes())
    assert written[0] == written[1]


# Windows, and folders of JPEGs


def test_each_window_of_scope_clip_is_a_clip(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    ids = ("slide/a.mp4", "orbit/short.mp4")
    only = [word for video_id in ids for word in ("--video", video_id)]
    result = cli("export", cache_path, "--variant", CLIP, "--out", tmp_path, "--format", "frames", *only)
    assert result.exit_code == 0, result.output
    # 40 frames: two windows of 16, and one that ends with the video; 9 frames: one window, padded.
    stems = ("slide/a_w000", "slide/a_w001", "slide/a_w002", "orbit/short_w000")
    assert below(tmp_path) == {f"{CLIP}/{stem}/img_{n:05d}.jpg" for stem in stems for n in range(1, 17)}
    cache = Cache(cache_path)
    for stem in stems:
        video_id, window = f"{stem[:-5]}.mp4", int(stem[-3:])
        for n, frame in enumerate(cache.motion_preserved(video_id, CLIP, window), 1):
            expected = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(frame.copy(), 95, "RGB", "420"), "RGB")
            stored = (tmp_path / CLIP / stem / f"img_{n:05d}.jpg").read_bytes()
            np.testing.assert_array_equal(simplejpeg.decode_jpeg(stored, "RGB"), expected)


def test_windows_with_a_frame_step_play_in_time(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(cache_path, tmp_path / "cache")
    rule = ["--scope", "clip", "--clip-length", 8, "--frame-step", 5]
    assert cli("render", copy, "--keep", 1, *rule).exit_code == 0
    (export,) = plan_exports(Cache(copy), ("keep1-zero-clip8-step5",), tmp_path / "out", video_ids=("slide/a.mp4",))
    export.write(export.parts[0])
    path = export.folder / "slide/a_w000.mp4"
    clip, said = decoded(path, *FRAME_SIZE)
    assert said.fps == "5"
    assert difference(clip, Cache(copy).frames("slide/a.mp4")[:36:5]) < 3


# Refused before the first write


def refused(cli: Callable[..., Result], cache: Path, out: Path, *options: object) -> str:
    """The one line in which an export is refused, with exit code 2 and nothing written or changed."""
    before = below(out)
    result = cli("export", cache, "--out", out, *options)
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1
    assert below(out) == before
    return result.output


def test_names_that_differ_in_their_endings_alone_keep_them(
    cli: Callable[..., Result], odd_cache: Path, tmp_path: Path
) -> None:
    assert cli("export", odd_cache, "--out", tmp_path, "--variant", "original").exit_code == 0
    same = {path.name for path in (tmp_path / "original" / "x").iterdir()}
    assert same >= {"same.mp4.mp4", "same.mov.mp4"}
    alone = cli("export", odd_cache, "--out", tmp_path / "alone", "--variant", "original", "--video", "x/same.mov")
    assert alone.exit_code == 0
    # A clip has one name, whatever is exported beside it.
    assert [path.name for path in (tmp_path / "alone" / "original" / "x").iterdir()] == ["same.mov.mp4"]


def _value(plane: av.video.plane.VideoPlane, share: float) -> float:
    """The value in the middle row of a plane, at a share of its width."""
    rows = np.asarray(plane, np.uint8).reshape(plane.height, plane.line_size)
    return float(rows[plane.height // 2, int(share * plane.width)])


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (96, 128)])
def test_clips_say_what_their_colours_mean(height: int, width: int, tmp_path: Path) -> None:
    """A player converts by the tags; what it then shows is what was written, to rounding."""
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [128, 128, 128]], np.uint8)
    frames = np.repeat(np.repeat(colours[None, None], height, 1), width // 4, 2).repeat(3, 0)
    with write_video(tmp_path / "a.mp4", height, width, "25", crf=4) as write:
        write(frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (shown,) = list(container.decode(video=0))[:1]
    assert (shown.colorspace, shown.color_range) == (6, 1)  # SMPTE 170M, limited range, of H.273
    # H.273's matrix 6 and limited range, by hand: independent of any converter.
    for quarter, colour in enumerate(colours.astype(float)):
        x = width // 4 * quarter + width // 8
        y, cb, cr = (_value(plane, x / width) for plane in shown.planes)
        luma, blue, red = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
        rgb = 255 * np.array([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue])
        assert np.abs(rgb - colour).max() < 4


@pytest.mark.parametrize(
    ("names", "form"), [(("a.avi", "a.mp4/b.mp4"), "mp4"), (("a.mp4", "a/b.mp4"), "frames"), (("./a.x", "a.x"), "mp4")]
)
def test_a_clip_in_the_place_of_a_folder_is_refused(
    cli: Callable[..., Result], renamed: Callable[..., Path], tmp_path: Path, names: tuple[str, str], form: str
) -> None:
    line = refused(cli, renamed(*names), tmp_path / "out", "--variant", "original", "--format", form)
    assert all(name in line for name in names)


def test_what_is_there_is_replaced_only_when_asked(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    call = ["--variant", "original", "--video", "orbit/still.mp4", "--video", "slide/a.mp4"]
    target = tmp_path / "original/orbit/still.mp4"
    target.parent.mkdir(parents=True)
    target.write_text("mine")
    assert str(target) in refused(cli, cache_path, tmp_path, *call)
    assert target.read_text() == "mine"
    assert cli("export", cache_path, "--out", tmp_path, *call, "--overwrite").exit_code == 0
    assert len(decoded(target, *FRAME_SIZE)[0]) == 1


def test_a_folder_of_other_files_is_never_replaced(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    call = ["--variant", "original", "--video", "orbit/still.mp4", "--format", "frames", "--overwrite"]
    folder = tmp_path / "original/orbit/still"
    assert cli("export", cache_path, "--out", tmp_path, *call).exit_code == 0
    assert cli("export", cache_path, "--out", tmp_path, *call).exit_code == 0
    assert os.listdir(folder) == ["img_00001.jpg"]
    (folder / "notes.txt").write_text("mine")
    assert str(folder) in refused(cli, cache_path, tmp_path, *call)


def test_a_variant_that_is_not_rendered_is_refused(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    line = refused(cli, cache_path, tmp_path, "--variant", "alpha0.30-zero-clip16")
    assert f"`s2vc-prep render {cache_path} --alpha 0.3 --scope clip --clip-length 16`" in line


def test_a_variant_that_is_rendered_in_part_is_refused(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(cache_path, tmp_path / "cache")
    (copy / f"receipts/motion/{VIDEO}/00001.json").unlink()
    line = refused(cli, copy, tmp_path / "out", "--variant", VIDEO, "--video", "slide/a.mp4")
    assert f"`s2vc-prep render {copy} --alpha 0.5`" in line


def test_a_cache_that_is_encoded_in_part_is_refused(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(cache_path, tmp_path / "cache")
    (copy / "receipts/encode/00001.json").unlink()
    assert "not completely encoded" in refused(cli, copy, tmp_path / "out", "--variant", "original")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--variant", "alpha"], "no variant"),
        (["--variant", "../original"], "no variant"),
        (["--variant", "original", "--video", "orbit/nothing.mp4"], "no video 'orbit/nothing.mp4'"),
    ],
)
def test_mistakes_in_the_call_are_one_line(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    assert says in refused(cli, cache_path, tmp_path, *options)


def test_clips_are_not_written_into_a_cache(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(cache_path / "motion")
    for out in (cache_path / "motion", tmp_path / "link"):
        assert "in the cache" in refused(cli, cache_path, out, "--variant", VIDEO)


def test_what_cannot_be_written_is_one_line(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    (tmp_path / "original").write_text("a file where a folder is needed")
    assert "cannot write" in refused(cli, cache_path, tmp_path, "--variant", "original")


# Going on


def _found(folder: Path, pattern: str) -> list[Path]:
    return list((folder / "out").rglob(pattern))


def test_an_export_that_was_killed_is_gone_on_with(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    whole = cli("export", cache_path, "--alpha", "0.5", "--out", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    words = ["export", str(cache_path), "--alpha", "0.5", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "s2vc.pipeline.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as first:
        # It is stopped while we look, so that it cannot end the clip between our look and its death.
        while first.poll() is None:
            first.send_signal(signal.SIGSTOP)
            if _found(tmp_path, "*.mp4") and _found(tmp_path, f"*{files.ATTEMPT}*"):
                break
            first.send_signal(signal.SIGCONT)
            time.sleep(0.005)
        first.kill()
    assert first.returncode == -signal.SIGKILL, "it was killed while it wrote a clip"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*/*/*.mp4")}
    again = cli(*words)
    assert again.exit_code == 0, again.output
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items() if path.suffix == ".mp4")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert "0 clips of 0 videos, 0 frames, 5 clips done before" in cli(*words).output


def test_what_was_rendered_anew_is_exported_anew(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(cache_path, tmp_path / "cache")
    words = ["export", copy, "--alpha", "0.5", "--out", tmp_path / "out", "--video", "slide/a.mp4", "--video"]
    words.append("orbit/still.mp4")
    assert cli(*words).exit_code == 0
    shard = int(Cache(copy).index.set_index("video_id").loc["slide/a.mp4", "shard"])
    other = int(Cache(copy).index.set_index("video_id").loc["orbit/still.mp4", "shard"])
    receipt = copy / f"receipts/motion/{VIDEO}/{shard:05d}.json"
    content = json.loads(receipt.read_text())
    content["files"] = {path: digest[::-1] for path, digest in content["files"].items()}
    receipt.write_text(json.dumps(content))
    wanted = 1 + (other == shard)
    assert f"{wanted} clip" in cli(*words).output.splitlines()[-2]


def test_one_clip_that_is_made_anew_does_not_vouch_for_the_others(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    """A shard is rendered anew; one of its clips is exported, then all."""
    cache, out = Path(shutil.copytree(cache_path, tmp_path / "cache")), tmp_path / "out"
    words = ("export", cache, "--variant", VIDEO, "--out", out)
    assert cli(*words).exit_code == 0
    index = Cache(cache).index.query("frames > 0")
    shard = index["shard"].mode()[0]
    one, another, *_ = index.query("shard == @shard")["video_id"]
    receipt = cache / f"receipts/motion/{VIDEO}/{shard:05d}.json"
    content = json.loads(receipt.read_text())
    content["files"] = {path: digest[::-1] for path, digest in content["files"].items()}
    receipt.write_text(json.dumps(content))
    clip = out / VIDEO / Path(another).with_suffix(".mp4")
    clip.write_bytes(b"made from what was there before")
    assert cli(*words, "--video", one).exit_code == 0
    assert cli(*words).exit_code == 0
    assert decoded(clip, *FRAME_SIZE)[1].frames == index.set_index("video_id").loc[another, "frames"]
    assert "0 clips of 0 videos" in cli(*words).output


def test_columns_of_the_tables_own_names_are_left_out(
    cli: Callable[..., Result], cache_path: Path, videos: Path, tmp_path: Path
) -> None:
    cache = Path(shutil.copytree(cache_path, tmp_path / "cache"))
    index = pd.read_csv(cache / "index.csv", dtype=str, keep_default_na=False)
    index.insert(3, "fps", "9")
    index.insert(3, "window", "left")
    index.insert(3, "scene", "sea")
    index.to_csv(cache / "index.csv", index=False, lineterminator="\n")
    for form in ("mp4", "webdataset"):
        out = tmp_path / form
        result = cli("export", cache, "--variant", VIDEO, "--out", out, "--format", form)
        assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "mp4" / VIDEO / "metadata.csv")
    assert set(table["scene"]) == {"sea"} and set(table["fps"]) == {25} and not set(table["window"]) & {"left"}


def test_another_format_in_one_folder_is_refused(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    call = ["--variant", "original", "--video", "orbit/still.mp4"]
    assert cli("export", cache_path, "--out", tmp_path, *call).exit_code == 0
    assert "format mp4, not frames" in refused(cli, cache_path, tmp_path, *call, "--format", "frames")


def test_two_exports_into_one_folder_are_refused(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    with held(tmp_path):
        assert f"{tmp_path} is in use by another job" in refused(cli, cache_path, tmp_path, "--variant", "original")


# Labels


def test_labels_are_read_by_other_toolboxes(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    result = cli("export", cache_path, "--variant", CLIP, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    index = Cache(cache_path).index.set_index("video_id")
    table = pd.read_csv(tmp_path / CLIP / "metadata.csv")
    assert set(table["file_name"]) == {path.removeprefix(f"{CLIP}/") for path in below(tmp_path)}
    for row in table.itertuples():
        known = index.loc[row.video_id]
        assert (row.label, row.class_name, row.split1) == (known["label"], known["class_name"], known["split1"])
        assert (row.frames, row.fps) == (16, 25)
    lists = {part: tmp_path / CLIP / f"split1_{part}.txt" for part in ("train", "test", "val")}
    for part, path in lists.items():
        lines = dict(line.split(" ") for line in path.read_text().splitlines()) if path.exists() else {}
        chosen = table[(table["split1"] == part) & ~table["file_name"].str.contains(" ")]
        assert lines == dict(zip(chosen["file_name"], chosen["label"].map("{:.0f}".format), strict=True))
    assert any(path.exists() for path in lists.values())
    blank = sum(" " in name for name in table["file_name"])
    assert blank and f"for want of a class or for blanks in the name: {blank} of the clips" in result.output


def test_tars_hold_pairs_of_a_clip_and_its_labels(cli: Callable[..., Result], cache_path: Path, tmp_path: Path) -> None:
    result = cli("export", cache_path, "--alpha", "0.5", "--out", tmp_path, "--format", "webdataset")
    assert result.exit_code == 0, result.output
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((tmp_path / VIDEO).glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")  # as WebDataset groups them
                found.setdefault(key, {})[ending] = tar.extractfile(member).read()  # type: ignore[union-attr]
    assert len(found) == len(CLIPS)
    cache = Cache(cache_path)
    for sample in found.values():
        said = json.loads(sample["json"])
        (tmp_path / "clip.mp4").write_bytes(sample["mp4"])
        clip, _ = decoded(tmp_path / "clip.mp4", *FRAME_SIZE)
        assert difference(clip, cache.motion_preserved(said["video_id"], VIDEO)) < 3
        assert said["class_name"] == said["video_id"].split("/")[0]
    assert (
        "done before" in cli("export", cache_path, "--alpha", "0.5", "--out", tmp_path, "--format", "webdataset").output
    )
    some = ["--alpha", "0.5", "--format", "webdataset", "--video", "slide/a.mp4"]
    assert "--video" in refused(cli, cache_path, tmp_path, *some)


# Hostile names and damaged caches


@pytest.mark.parametrize("form", ["mp4", "frames"])
@pytest.mark.parametrize(
    "name",
    [
        "../evil.mp4",
        "a/../../evil.mp4",
        "/evil.mp4",
        "..",
        "...mp4",
        "a/..mp4",
        ".",
        "a\x1b[0m.mp4",
        "long" * 60 + ".mp4",
    ],
)
def test_a_hostile_name_is_listed_and_never_written(
    cli: Callable[..., Result], renamed: Callable[..., Path], tmp_path: Path, name: str, form: str
) -> None:
    cache, out = renamed(name), tmp_path / "deep/er/out"
    before = below(tmp_path)
    ids = ["--video", name, "--video", "orbit/still.mp4"]
    result = cli("export", cache, "--variant", "original", "--out", out, "--format", form, *ids)
    assert result.exit_code == 3, result.output
    assert "is not exported" in result.output
    assert result.output.replace("\n", "").isprintable()
    image = "original/orbit/still" + (".mp4" if form == "mp4" else "/img_00001.jpg")
    assert below(tmp_path) - before == {f"deep/er/out/{image}"}
    assert not Path("/evil.mp4").exists()


def test_a_damaged_cache_ends_in_one_line_and_leaves_nothing_half_written(
    cli: Callable[..., Result], cache_path: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(cache_path, tmp_path / "cache")
    path = copy / "frames/00000.h5"
    path.write_bytes(path.read_bytes()[:1000])
    line = refused(cli, copy, tmp_path / "out", "--variant", "original")
    assert "s2vc-prep verify" in line


def test_planning_alone_writes_nothing(cache_path: Path, tmp_path: Path) -> None:
    exports = plan_exports(Cache(cache_path), ("original", VIDEO, CLIP, VIDEO), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    windows = {"slide/a.mp4": 3, "slide/b c.mp4": 2, "orbit/a.mp4": 3, "orbit/short.mp4": 1, "orbit/still.mp4": 1}
    assert [len(export.parts) for export in exports] == [len(CLIPS), len(CLIPS), sum(windows.values())]
    with pytest.raises(UserError):
        plan_exports(Cache(cache_path), ("nothing",), tmp_path / "out")

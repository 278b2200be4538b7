"""Frames of other shapes than the stored one: what is cut, kept and filled, against Pillow and against coordinates.

Red rises with the column of the source and green with its row, so that a stored pixel says where it came from.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image, ImageOps

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.stages.ffmpeg_process import ffmpeg_binary
from s2vc.pipeline.stages.video import decode_video

SHAPES = [((120, 160), (64, 86)), ((101, 101), (64, 86)), ((75, 203), (64, 86)), ((203, 75), (64, 64)),
          ((90, 160), (86, 64)), ((203, 75), (64, 86))]  # fmt: skip
"""(height, width) of a source and of what is stored: 4:3, wide, tall, square, and odd numbers, where 4:2:0 cannot be
cut."""


def chart(height: int, width: int) -> np.ndarray:
    """Draw a frame (height, width, 3) uint8: red is the column and green the row, in 255 of the whole; blue is 100."""
    frame = np.full((height, width, 3), 100, np.uint8)
    frame[..., 0] = np.round((np.arange(width) + 0.5) / width * 255)[None]
    frame[..., 1] = np.round((np.arange(height) + 0.5) / height * 255)[:, None]
    return frame


def video(path: Path, frame: np.ndarray, *options: object) -> Path:
    """Write one frame without loss."""
    size = ("-s", f"{frame.shape[1]}x{frame.shape[0]}", "-pix_fmt", "rgb24")
    line = [ffmpeg_binary(), "-v", "error", "-y", "-f", "rawvideo", *size, "-i", "-", "-c:v", "ffv1", *options, path]
    subprocess.run([str(a) for a in line], input=frame.tobytes(), check=True)
    return path


def decoded(path: Path, size: tuple[int, int], fit: str) -> np.ndarray:
    frames: list[np.ndarray] = []
    decode_video(path, *size, frames.append, fit=fit)
    return np.concatenate(frames)[0].astype(float)


def short_side_by_pillow(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to the shorter side and cut or fill evenly, as torchvision's Resize and CenterCrop do."""
    (h, w), side = frame.shape[:2], min(size)
    scale = side / min(h, w)
    image = Image.fromarray(frame).resize((round(w * scale), round(h * scale)), Image.Resampling.BICUBIC)
    left, top = ((a - b) // 2 for a, b in zip(image.size, reversed(size), strict=True))
    return np.asarray(image.crop((left, top, left + size[1], top + size[0])))  # Pillow fills with black


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_frames_are_those_of_pillow(shape: tuple[int, int], size: tuple[int, int], tmp_path: Path) -> None:
    frame = chart(*shape)
    path = video(tmp_path / "a.mkv", frame)
    image = Image.fromarray(frame)
    expected = {
        "squeeze": np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC)),
        "crop": np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC)),
        "short-side": short_side_by_pillow(frame, size),
    }
    for fit, right in expected.items():
        found = decoded(path, size, fit)
        assert found.shape == (*size, 3)
        filled = right[..., 2] == 0
        inside = ~filled & (found[..., 2] > 50)  # Whole columns may be rounded to the other side of an edge.
        assert abs(filled.mean() - (found[..., 2] < 50).mean()) <= 1.01 / min(size), fit
        # A pixel of the stored frame spans so many levels: nothing is moved by more than one.
        level = 255 * max(max(shape) / min(shape), 1) / min(size) + 2
        assert np.abs(found - right)[inside].max() < level, fit


def test_what_each_way_keeps_of_a_wide_and_of_a_tall_frame(tmp_path: Path) -> None:
    """Columns and rows that are left, by proportion: 4:3 stored, 16:9 and 9:16 in the source."""
    wide, tall = (video(tmp_path / f"{w}.mkv", chart(h, w)) for h, w in ((180, 320), (320, 180)))

    def seen(path: Path, fit: str) -> list[float]:
        """Give the first and last column and row that is seen, as shares of the source."""
        frame = decoded(path, (96, 128), fit)
        shown = frame[frame[..., 2] > 50]
        return [float(v) / 255 for v in (*np.percentile(shown[:, 0], (0, 100)), *np.percentile(shown[:, 1], (0, 100)))]

    whole = [0, 1, 0, 1]
    assert seen(wide, "squeeze") == pytest.approx(whole, abs=0.02)
    assert seen(wide, "crop") == pytest.approx([1 / 8, 7 / 8, 0, 1], abs=0.02)  # 240 of 320 columns
    assert seen(wide, "short-side") == pytest.approx([1 / 8, 7 / 8, 0, 1], abs=0.02)
    assert seen(tall, "squeeze") == pytest.approx(whole, abs=0.02)
    assert seen(tall, "crop") == pytest.approx([0, 1, 37 / 128, 91 / 128], abs=0.02)  # 135 of 320 rows
    assert seen(tall, "short-side") == pytest.approx([0, 1, 7 / 32, 25 / 32], abs=0.02)  # 180 of 320 rows
    bars = decoded(tall, (96, 128), "short-side")
    assert (bars[:, :16] == 0).all() and (bars[:, -16:] == 0).all() and (bars[:, 17:-17, 2] > 90).all()


def test_the_shape_is_that_which_players_show(tmp_path: Path) -> None:
    """A square of 96 pixels that are twice as wide as high shows as 2:1, and lying on its side as 1:2."""
    frame = chart(96, 96)
    path = video(tmp_path / "a.mkv", frame, "-vf", "setsar=2")
    found = decoded(path, (64, 64), "crop")
    assert found[:, 0, 0].mean() == pytest.approx(255 / 4, abs=5) and found[:, -1, 0].mean() == pytest.approx(
        191, abs=5
    )
    assert found[0, :, 1].mean() < 5 and found[-1, :, 1].mean() > 250
    turned = tmp_path / "turned.mp4"
    copy = [ffmpeg_binary(), "-v", "error", "-i", path, "-pix_fmt", "yuv444p", "-c:v", "libx264", "-qp", 1]
    subprocess.run([*map(str, copy), str(tmp_path / "plain.mp4")], check=True)
    turn = ["-display_rotation", "90", "-i", str(tmp_path / "plain.mp4"), "-c", "copy", str(turned)]
    subprocess.run([ffmpeg_binary(encoder=True), "-v", "error", *turn], check=True)
    found = decoded(turned, (64, 64), "crop")
    # The source's rows run from left to right now, and all are there; of its columns, half are.
    assert np.ptp(found[32, :, 1]) > 240 and np.ptp(found[:, 32, 0]) == pytest.approx(128, abs=8)


def test_a_change_of_size_on_the_way_is_fitted_anew(tmp_path: Path) -> None:
    for name, (height, width) in {"one": (96, 128), "two": (72, 160)}.items():
        video(tmp_path / f"{name}.mkv", chart(height, width))
        line = [
            ffmpeg_binary(),
            "-v",
            "error",
            "-i",
            tmp_path / f"{name}.mkv",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
        ]
        subprocess.run([*map(str, line), "-qp", "4", str(tmp_path / f"{name}.ts")], check=True)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join((tmp_path / f"{name}.ts").read_bytes() for name in ("one", "two")))
    frames: list[np.ndarray] = []
    decode_video(joined, 96, 128, frames.append, fit="crop")
    first, second = np.concatenate(frames).astype(float)[..., 0].mean(axis=1)
    assert first[[0, -1]] == pytest.approx([1, 254], abs=6)
    assert second[[0, -1]] == pytest.approx([255 / 5, 255 * 4 / 5], abs=6)  # 96 of 160 columns


def test_a_panorama_of_a_row_is_bounded(tmp_path: Path) -> None:
    """Kept in shape it would be 64 x 262,144 pixels, 50 MB a frame; it is 16 times the width at most."""
    path = video(tmp_path / "row.mkv", chart(2, 8192))
    found = decoded(path, (64, 64), "crop")
    assert found.shape == (64, 64, 3) and (found[0, -1, 0] - found[0, 0, 0]) == pytest.approx(255 / 16, abs=3)


def test_a_cache_keeps_its_fit_and_one_without_has_its_old_bytes(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    video(tmp_path / "videos" / "wide.mkv", chart(90, 160))
    (tmp_path / "m.csv").write_text("video_id\nwide.mkv\n")

    def encode(out: str, *more: object) -> Result:
        line = ["encode", tmp_path / "m.csv", "--root", tmp_path / "videos", "--out", tmp_path / out]
        return cli(*line, *more)

    for out, options in {"plain": (), "named": ("--fit", "squeeze"), "cut": ("--fit", "crop")}.items():
        done = encode(out, "--size", "64x64", *options)
        assert done.exit_code == 0, done.output
    settings = {out: json.loads((tmp_path / out / "cache.json").read_text()) for out in ("plain", "named", "cut")}
    assert "fit" not in settings["plain"] and settings["plain"] == settings["named"]
    assert settings["cut"]["fit"] == "crop" and settings["cut"]["format_version"] == 1
    plain, named = ((tmp_path / out / "frames/00000.h5").read_bytes() for out in ("plain", "named"))
    assert plain == named
    frames = Cache(tmp_path / "cut").frames("wide.mkv", 0, 1)[0].astype(float)
    edges = [255 * 35 / 160, 255 * 125 / 160]  # 90 of 160 columns
    assert frames[..., 0].mean(axis=0)[[0, -1]] == pytest.approx(edges, abs=8)
    assert encode("cut").exit_code == 0  # It goes on as it was made.
    refused = encode("cut", "--fit", "short-side")
    assert refused.exit_code == 2 and "--fit is crop there, short-side here" in refused.output
    assert "cut to its shape" in cli("info", tmp_path / "cut").output
    (tmp_path / "cut" / "cache.json").write_text(json.dumps(settings["cut"] | {"fit": "zoom"}))
    assert "damaged" in cli("info", tmp_path / "cut").output

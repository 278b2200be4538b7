"""`s2vc-prep preview` shows the frames that are stored and rendered, and computes what is not as render would."""

import dataclasses
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.corrections import read_corrections
from s2vc.pipeline.preview.animation import Animation
from s2vc.pipeline.preview.contact_sheet import HEADING, cell_size
from s2vc.pipeline.preview.pictures import choose_variants, choose_videos, evenly_spaced, write_preview
from s2vc.pipeline.preview.strips import VideoStrips, find_videos, make_strips, nearest_places
from s2vc.pipeline.stages.render_shard import render_shard
from s2vc.pipeline.stages.video import decode_video
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule
from tests.conftest import CLIPS, FRAME_SIZE, MISSING, VARIANTS

LONG, SHORT, STILL = "slide/a.mp4", "orbit/short.mp4", "orbit/still.mp4"
CELL = (144, 196)
"""FRAME_SIZE is less than 160 wide, so it is doubled."""

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def cache(cache_path: Path) -> Cache:
    return Cache(cache_path)


@pytest.fixture(scope="module")
def bare(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which nothing is rendered."""
    path = tmp_path_factory.mktemp("bare") / "cache"
    return Path(shutil.copytree(cache_path, path, ignore=shutil.ignore_patterns("motion")))


def enlarged(frame: np.ndarray) -> np.ndarray:
    """A stored frame as it should be shown."""
    return np.asarray(Image.fromarray(frame).resize(CELL[::-1], Image.Resampling.LANCZOS))


def corners(picture: np.ndarray, page: np.ndarray) -> list[tuple[int, int]]:
    """Where a picture lies in a page, pixel for pixel: (y, x) of its upper left corners."""
    h, w = picture.shape[:2]
    y, x = (page[: len(page) - h + 1, : page.shape[1] - w + 1] == picture[0, 0]).all(axis=2).nonzero()
    for dy, dx in np.ndindex(h, w):  # pixel by pixel, while there is more than one place
        if len(y) < 2:
            break
        same = (page[y + dy, x + dx] == picture[dy, dx]).all(axis=1)
        y, x = y[same], x[same]
    found = zip(y.tolist(), x.tolist(), strict=True)
    return [(top, left) for top, left in found if np.array_equal(page[top : top + h, left : left + w], picture)]


def pictured(cache: Cache, video_id: str, numbers: list[int], *names: str) -> VideoStrips:
    (subject,) = find_videos(cache, [video_id])
    return make_strips(cache, subject, np.array(numbers), [Variant.parse(name) for name in names])


def unlike(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two lots of frames, in grey levels."""
    return int(np.abs(a.astype(int) - b).max())


def test_a_sheet_holds_rows_of_originals_and_of_what_is_rendered(cache: Cache, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    result = cli("preview", cache.layout.root, "--video", LONG, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(out)
    assert "on the fly" not in result.output
    page = np.asarray(Image.open(out).convert("RGB"))

    numbers = [round(k * 39 / 7) for k in range(8)]
    places = []
    for number in numbers:
        shown = [cache.frames(LONG)[number], cache.motion_preserved(LONG, VARIANTS[0])[number]]
        for variant in VARIANTS[1:]:
            window = next(w for w, frames in enumerate(cache.windows(LONG, variant)) if number in frames)
            row = cache.windows(LONG, variant)[window].tolist().index(number)
            shown.append(cache.motion_preserved(LONG, variant, window)[row])
        column = [corners(enlarged(frame), page) for frame in shown]
        assert all(len(found) == 1 for found in column), column
        places.append([found[0] for found in column])
    y, x = np.array(places).transpose(2, 0, 1)
    assert (y == y[0]).all(), "a row is level"
    assert (x == x[:, :1]).all(), "a column is plumb"
    assert (np.diff(x[:, 0]) >= CELL[1]).all(), "time runs to the right"
    assert (np.diff(np.sort(y[0])) >= CELL[0]).all()
    assert (y[:, 0] == y.min()).all(), "the original is on top"


@pytest.mark.parametrize(
    ("video_id", "name"), [(LONG, VARIANTS[0]), (LONG, VARIANTS[1]), *((SHORT, name) for name in VARIANTS)]
)
def test_what_is_computed_on_the_fly_is_what_render_writes(cache: Cache, bare: Path, video_id: str, name: str) -> None:
    last = CLIPS[video_id][0] - 1
    numbers = [0, last // 5, last]
    rendered = pictured(cache, video_id, numbers, name).strips[1]
    computed = pictured(Cache(bare), video_id, numbers, name).strips[1]
    assert computed.fresh
    assert not rendered.fresh
    shard = int(cache.index.set_index("video_id")["shard"][video_id])
    scale = read_corrections(cache.layout.motion(Variant.parse(name), shard)).scale.max()
    assert unlike(computed.frames, rendered.frames) <= scale / 2 * 255 + 1
    assert computed.kept == pytest.approx(rendered.kept, abs=1e-6)
    assert computed.alpha == pytest.approx(rendered.alpha, abs=1e-6)


RANDOM_NAMES = [
    "alpha0.5-noise-video-draw1",
    "alpha0.5-random-video-draw0-seed3",
    "alpha0.5-shuffle-clip-clip16-draw0",
    "alpha0.5-shuffle-frame-clip4-step2-stride3-draw0",
    "keep0.2-tfd-video",
    "alpha0.5-reverse-video",
]


def test_other_strategies_are_computed_as_render_does(bare: Path) -> None:
    cache = Cache(bare)
    numbers = [0, 3, 4, 8]
    computed = pictured(cache, SHORT, numbers, *RANDOM_NAMES)
    for name in RANDOM_NAMES:
        render_shard(cache.layout, cache.settings, 1, [Variant.parse(name)], "cpu")
    rendered = pictured(cache, SHORT, numbers, *RANDOM_NAMES)
    shutil.rmtree(bare / "receipts" / "motion")
    for a, b in zip(computed.strips[1:], rendered.strips[1:], strict=True):
        assert a.variant is not None
        assert a.variant == b.variant
        assert (a.fresh, b.fresh) == (True, False)
        scale = read_corrections(cache.layout.motion(a.variant, 1)).scale.max()
        assert unlike(a.frames, b.frames) <= scale / 2 * 255 + 1, a.variant.name
        assert a.kept == pytest.approx(b.kept, abs=1e-6)


@pytest.mark.parametrize("name", ["alpha0.5-noise-video-draw0", "alpha0.5-random-video-draw0", "keep0.3-zero-video"])
def test_frames_far_apart_are_as_they_are_in_the_whole_video(bare: Path, name: str) -> None:
    some, whole = (pictured(Cache(bare), LONG, numbers, name).strips[1] for numbers in ([0, 2, 39], list(range(40))))
    assert unlike(some.frames, whole.frames[[0, 2, 39]]) <= 1
    assert some.kept == whole.kept


@pytest.mark.parametrize("alpha", [0.1, 0.37, 0.5])
def test_the_share_shown_is_that_of_the_cached_stds(bare: Path, alpha: float) -> None:
    cache = Cache(bare)
    strip = pictured(cache, LONG, [0, 20], f"alpha{alpha}-zero-video").strips[1]
    assert strip.kept == pytest.approx((cache.std(LONG) >= np.float32(alpha)).mean(), abs=1e-9)


def test_variants_that_were_computed_are_named(bare: Path, cli: Cli, tmp_path: Path) -> None:
    arguments = ("preview", bare, "--video", STILL, "--out", tmp_path / "a.png")
    names = [v.name for v in choose_variants(Cache(bare))]
    assert len(names) == 4
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in names)
    result = cli(*arguments, "--alpha", "0.50", "--keep", ".2", "--variant", "alpha0.5-zero-video")
    assert "alpha0.5-zero-video, keep0.2-zero-video\n" in result.output


def test_a_video_of_one_frame_has_one_column_and_keeps_nothing(bare: Path, tmp_path: Path) -> None:
    shown = write_preview(Cache(bare), tmp_path / "a.png", [STILL], [Variant(alpha=0.5)])
    assert [len(strip.frames) for strip in shown[0].strips] == [1, 1]
    assert shown[0].strips[1].kept == 0


def test_one_video_of_each_class_is_chosen_that_fills_the_columns(cache: Cache) -> None:
    for columns in (1, 8, 30, 64):
        expected = []
        for name in ("slide", "orbit"):
            lengths = {video_id: frames for video_id, (frames, c) in CLIPS.items() if c == name}
            enough = [video_id for video_id, frames in lengths.items() if frames >= columns]
            expected.append(enough[0] if enough else max(lengths, key=lambda v: lengths[v]))
        assert choose_videos(cache, columns) == expected


def test_of_a_single_class_several_are_chosen(cache: Cache) -> None:
    alone = Cache(cache.layout.root)
    alone.index = alone.index.assign(class_name="")
    assert len(choose_videos(alone, 8)) == 2, "then labels tell classes"
    alone.index = alone.index.assign(label=None)
    assert choose_videos(alone, 1) == list(CLIPS)[:4]


def test_an_animation_shows_every_frame_at_the_pace_of_the_source(cache: Cache, cli: Cli, tmp_path: Path) -> None:
    count, arguments = 10, ("preview", cache.layout.root, "--video", LONG, "--alpha", 0.5, "--seconds", 0.4)
    for ending in ("gif", "mp4"):
        result = cli(*arguments, "--out", tmp_path / f"a.{ending}")
        assert result.exit_code == 0, result.output
    exact = Animation([pictured(cache, LONG, list(range(count)), VARIANTS[0])], Fraction(25), 8)
    pages = [np.asarray(exact.picture(n)) for n in range(count)]
    for n, page in enumerate(pages):
        ((top, left),) = corners(enlarged(cache.frames(LONG)[n]), page)
        ((other_top, other_left),) = corners(enlarged(cache.motion_preserved(LONG, VARIANTS[0])[n]), page)
        assert top == other_top
        assert other_left >= left + CELL[1]

    frames: list[np.ndarray] = []
    decoded = decode_video(tmp_path / "a.mp4", *pages[0].shape[:2], frames.append)
    assert (decoded.frames, decoded.fps, decoded.errors) == (count, "25", [])
    assert (decoded.height, decoded.width) == pages[0].shape[:2]
    with Image.open(tmp_path / "a.gif") as gif:
        pictures = [np.asarray(p.convert("RGB")) for p in ImageSequence.Iterator(gif)]
        delays = [p.info["duration"] for p in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0
    assert len(pictures) == count
    assert delays == [40] * count
    for shown, allowed in ((np.concatenate(frames), 3), (np.array(pictures), 6)):
        for n in range(count):
            errors = [np.abs(shown[n].astype(int) - page).mean() for page in pages]
            assert errors[n] < allowed
            assert errors[n] == min(errors), "no other frame is nearer"


def test_videos_of_other_frame_rates_keep_their_pace_and_stand_still_at_their_end(cache: Cache) -> None:
    fast, slow = (pictured(cache, video_id, list(range(n))) for video_id, n in ((LONG, 12), ("orbit/a.mp4", 3)))
    fast = dataclasses.replace(fast, subject=dataclasses.replace(fast.subject, fps=Fraction(50)))
    film = Animation([fast, slow], Fraction(50), 8)
    assert film.pictures == 12
    for n in range(12):
        page = np.asarray(film.picture(n))
        assert len(corners(enlarged(fast.strips[0].frames[n]), page)) == 1
        assert len(corners(enlarged(slow.strips[0].frames[min(n // 2, 2)]), page)) == 1


@given(
    frames=st.integers(1, 70),
    length=st.integers(2, 20),
    step=st.integers(1, 4),
    stride=st.integers(1, 60),
)
def test_the_nearest_frame_that_is_in_a_window_is_shown(frames: int, length: int, step: int, stride: int) -> None:
    windows = WindowRule("clip", length, step, stride).windows(frames)
    numbers = np.arange(frames)
    for number, (window, row) in zip(numbers, nearest_places(windows, numbers), strict=True):
        assert abs(windows[window][row] - number) == min(abs(f - number) for w in windows for f in w)


@given(frames=st.integers(1, 5000), columns=st.integers(1, 64))
def test_columns_are_evenly_spread(frames: int, columns: int) -> None:
    numbers = evenly_spaced(frames, columns)
    assert len(numbers) == min(frames, columns)
    assert numbers[0] == 0
    gaps = np.diff(numbers)
    if len(numbers) > 1:
        assert numbers[-1] == frames - 1
        assert gaps.max() - gaps.min() <= 1


@given(text=st.text(max_size=80), width=st.integers(0, 400))
def test_a_long_name_keeps_its_ends(text: str, width: int) -> None:
    shown = HEADING.fit(text, width)
    if HEADING.width(text) <= width:
        assert shown == text
    else:
        start, end = shown.split("…", 1) if "…" not in text else (shown[:0], shown[:0])
        assert text.startswith(start)
        assert text.endswith(end)
        assert shown == "…" or HEADING.width(shown) <= width


def test_frames_are_shown_wide_enough_and_in_their_shape() -> None:
    for height, width in [(72, 98), (128, 171), (256, 340), (16, 4096), (4096, 16), (20, 20)]:
        h, w = cell_size(height, width)
        assert max(h, w) <= 480
        assert w >= 128 or h == 480
        assert min(h, w) == 1 or h / w == pytest.approx(height / width, rel=0.35 if min(h, w) < 5 else 0.02)


def refused(result: Result) -> str:
    """The one line on which a mistake is told."""
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--video", "nowhere.mp4"], "nowhere.mp4"),
        (["--video", MISSING], "there is no such file"),
        (
            ["--variant", "alpha0.5-zero"],
            f"an example is alpha0.5-zero-video; rendered are {', '.join(sorted(VARIANTS))}",
        ),
        (["--variant", "alpha0.5-shuffle-clip-video-draw0"], "scope clip"),
        (["--alpha", "-0.5"], "alpha"),
        (["--alpha", "nan"], "alpha"),
        (["--keep", "1.5"], "1.5"),
        (["--out", "a.jpeg"], ".png"),
        (["--out", "."], ".png"),
    ],
)
def test_a_mistake_is_told_in_a_line(cache_path: Path, cli: Cli, arguments: list[str], told: str) -> None:
    assert told in refused(cli("preview", cache_path, *arguments))


def test_a_picture_that_cannot_be_written_is_told_before_work(cache_path: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for out in (tmp_path / "file" / "a.png", tmp_path / "folder.png"):
        assert str(out) in refused(cli("preview", cache_path, "--out", out))
    assert "no cache" in refused(cli("preview", tmp_path, "--out", tmp_path / "a.png"))


def test_videos_that_are_not_encoded_yet(bare: Path, cli: Cli, tmp_path: Path) -> None:
    path = Path(shutil.copytree(bare, tmp_path / "cache"))
    (path / "receipts" / "encode" / "00000.json").unlink()
    assert set(choose_videos(Cache(path), 8)) <= {SHORT, STILL}, "those of the shard that is encoded"
    assert "not encoded yet" in refused(cli("preview", path, "--video", LONG, "--out", tmp_path / "a.png"))
    (path / "receipts" / "encode" / "00001.json").unlink()
    with pytest.raises(UserError, match="no video"):
        choose_videos(Cache(path), 8)


def test_frames_that_are_gone_are_told(bare: Path, cli: Cli, tmp_path: Path) -> None:
    path = Path(shutil.copytree(bare, tmp_path / "cache"))
    (path / "frames" / "00000.h5").unlink()
    assert "verify" in refused(cli("preview", path, "--video", LONG, "--alpha", "0.5", "--out", tmp_path / "a.png"))
    assert not (tmp_path / "a.png").exists()


def test_the_cells_have_the_size_this_file_expects() -> None:
    assert cell_size(*FRAME_SIZE) == CELL

"""`s2vc-prep info` counts what is there, and its shares are those of the latents themselves."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.info.cache_facts import facts, survey
from s2vc.pipeline.info.kept_share import Curve, kept_of_histogram, kept_of_std
from s2vc.pipeline.info.kept_share_figure import plot_shares
from s2vc.pipeline.jobs import over_shards
from tests.conftest import CLIPS, FRAME_SIZE, MISSING, VARIANTS

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def cache(cache_path: Path) -> Cache:
    return Cache(cache_path)


@pytest.fixture(scope="module")
def known(cache: Cache) -> dict[str, Any]:
    return facts(survey(cache))


@pytest.fixture
def own(cache_path: Path, tmp_path: Path) -> Path:
    """A copy to take things from."""
    return Path(shutil.copytree(cache_path, tmp_path / "cache"))


def window_stds(z: np.ndarray) -> list[np.ndarray]:
    """STD over each window of 16 frames, as DESIGN describes windows: z (T, 12288) -> (12288,) each."""
    count = len(z)
    if count < 16:
        return [np.concatenate([z[:1]] * (16 - count) + [z]).std(axis=0, ddof=1)]
    starts = list(range(0, count - 15, 16))
    if starts[-1] + 16 < count:
        starts.append(count - 16)
    return [z[s : s + 16].std(axis=0, ddof=1) for s in starts]


def test_every_video_is_counted_once(known: dict[str, Any], videos: Path) -> None:
    rows = list(csv.DictReader((videos / "manifest.csv").open()))
    assert known["videos"] == {"ok": len(CLIPS), "partial": 0, "failed": 1, "not done": 0}
    assert sum(known["videos"].values()) == len(rows)
    assert known["frames"] == sum(frames for frames, _ in CLIPS.values())
    assert known["frame_size"] == list(FRAME_SIZE)
    assert known["splits"] == {"split1": Counter(row["split1"] for row in rows)}
    assert known["class_count"] == 2
    assert {c["class_name"]: c["videos"] for c in known["classes"]} == Counter(row["class_name"] for row in rows)
    for entry in known["classes"]:
        assert entry["frames"] == sum(n for n, name in CLIPS.values() if name == entry["class_name"])
    assert known["unfinished"] == []
    assert known["failures"] == [
        {"status": "failed", "reason": "there is no such file", "videos": 1, "first": [MISSING]}
    ]


def test_sizes_are_those_of_the_files(known: dict[str, Any], cache: Cache) -> None:
    root, frames = cache.layout.root, int(cache.index["frames"].sum())
    folders = {"frames": "frames", "small": "small", "latents": "latents.zarr"} | {v: f"motion/{v}" for v in VARIANTS}
    assert [part["part"] for part in known["parts"]] == [*list(folders)[:3], *sorted(VARIANTS)]
    for part in known["parts"]:
        size = sum(path.stat().st_size for path in (root / folders[part["part"]]).rglob("*") if path.is_file())
        assert part["bytes"] == size > 0
        assert part["bytes_per_frame"] == pytest.approx(size / frames)
        assert part["shards_done"] == known["shards"] == 2


def test_shares_of_rendered_variants_are_means_over_their_windows(known: dict[str, Any], cache: Cache) -> None:
    assert {v["name"] for v in known["variants"]} == set(VARIANTS)
    for entry in known["variants"]:
        kept = np.concatenate([cache.kept(video_id, entry["name"]) for video_id in CLIPS])
        assert entry["windows"] == len(kept)
        assert entry["kept"] == pytest.approx(kept.mean(), abs=1e-6)


def test_shares_of_scope_video_are_those_of_the_stds(known: dict[str, Any], cache: Cache) -> None:
    shares = known["share_kept"]
    assert shares["videos"] == len(CLIPS)
    assert set(np.arange(1, 11) / 10) <= set(shares["alphas"])
    for k, alpha in enumerate(shares["alphas"]):
        kept = [(cache.std(video_id) >= np.float32(alpha)).mean() for video_id in CLIPS]
        assert shares["video"]["mean"][k] == pytest.approx(np.mean(kept), abs=2e-6)
        assert shares["video"]["p10"][k] == pytest.approx(np.percentile(kept, 10), abs=2e-6)
        assert shares["video"]["p90"][k] == pytest.approx(np.percentile(kept, 90), abs=2e-6)


def test_shares_over_windows_are_those_of_the_latents(known: dict[str, Any], cache: Cache) -> None:
    shares = known["share_kept"]
    stds = [window_stds(cache.latents(video_id).astype(np.float64)) for video_id in CLIPS]

    def mean_kept(alpha: float) -> float:
        return float(np.mean([np.mean([(std >= alpha).mean() for std in of_video]) for of_video in stds]))

    for alpha, mean in zip(shares["alphas"], shares["clip16"]["mean"], strict=True):
        low, high = np.floor(alpha * 128) / 128, np.ceil(alpha * 128) / 128
        # Between two edges of bins the share is known within theirs; stored latents are rounded, STDs counted were not.
        assert mean_kept(high) - 1e-3 <= mean <= mean_kept(low) + 1e-3
        if low == high:
            assert mean == pytest.approx(mean_kept(alpha), abs=1e-3)


def test_a_video_that_stands_still_over_a_window_keeps_nothing_of_it() -> None:
    histogram = np.zeros((2, 512), np.int64)
    histogram[0, 0] = 12288
    kept = kept_of_histogram(histogram, np.array([1, 1]), np.array([0.0, 1 / 128, 1.0]))
    assert kept[0].tolist() == [1, 0, 0]
    assert kept[1].tolist() == [1, 1, 1], "all its STDs are beyond the range"


def test_an_std_of_alpha_is_kept() -> None:
    std = np.full((1, 12288), np.float32(0.1), np.float32)
    assert kept_of_std(std, np.array([0.1])).tolist() == [[1.0]]
    assert kept_of_std(std, np.array([0.1001])).tolist() == [[0.0]]
    assert kept_of_std(std[:0], np.array([0.1])).shape == (0, 1)


def test_shares_count_each_std_on_its_side_of_each_alpha() -> None:
    alphas = (np.arange(51) / 50).astype(np.float32)
    near = [np.nextafter(alphas, np.float32(-1)), alphas, np.nextafter(alphas, np.float32(2))]
    drawn = np.random.default_rng(0).random((2, 3 * 51), np.float32) * 1.5
    std = np.maximum(np.stack([np.concatenate(near), *drawn, np.full(3 * 51, 1e30, np.float32)]), 0)
    kept = kept_of_std(std)
    for row, shares in zip(std, kept, strict=True):
        assert shares.tolist() == pytest.approx([(row >= alpha).mean() for alpha in alphas], abs=1e-12)


def test_several_processes_find_the_same_facts(
    cache: Cache, known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_shards, "SHARDS_A_PROCESS", 1)
    assert facts(survey(cache)) == known


def test_json_is_one_object_and_nothing_else(cache_path: Path, cli: Cli, tmp_path: Path, known: dict[str, Any]) -> None:
    result = cli("info", cache_path, "--json", "--plot", tmp_path / "plot.png")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == known
    assert str(tmp_path / "plot.png") in result.stderr.replace("\n", "")


def test_the_tables_hold_the_facts(cache_path: Path, cli: Cli, known: dict[str, Any]) -> None:
    result = cli("info", cache_path)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "Not finished" not in result.output
    for name in (*VARIANTS, "orbit", "slide", MISSING, "there is no such file", known["flow"]["fingerprint"][:12]):
        assert any(name in line for line in lines), name
    shares = known["share_kept"]
    for tenth in range(1, 11):
        k = shares["alphas"].index(tenth / 10)
        (line,) = [line for line in lines if line.split()[:1] == [f"{tenth / 10:g}"]]
        assert f"{100 * shares['video']['mean'][k]:.1f}% " in line
        assert f"{100 * shares['clip16']['mean'][k]:.1f}% " in line
    assert "each of the same weight" in result.output


def test_a_cache_that_is_not_finished_says_so(own: Path, cli: Cli, cache: Cache) -> None:
    (own / "receipts" / "ingest" / "00001.json").unlink()
    (own / "receipts" / "motion" / VARIANTS[0] / "00000.json").unlink()
    result = cli("info", own)
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if line.startswith("Not finished")]
    # What was made from a shard that has to be ingested again is not done either.
    assert told[:2] == ["Not finished: 1 of 2 shards are not ingested.", "Not finished: 1 of 2 shards are not encoded."]
    assert f"Not finished: 2 of 2 shards are not rendered as {VARIANTS[0]}." in told
    known = facts(survey(Cache(own)))
    there = cache.index[cache.index["shard"] == 0]
    assert known["videos"]["not done"] == len(CLIPS) + 1 - len(there)
    assert known["frames"] == there["frames"].sum()
    assert known["share_kept"]["videos"] == (there["frames"] > 0).sum()
    assert {v["name"]: v["kept"] is None for v in known["variants"]}[VARIANTS[0]]


def test_a_cache_in_which_nothing_is_done(own: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.rmtree(own / "receipts")
    result = cli("info", own)
    assert result.exit_code == 0, result.output
    assert "6 not done" in result.output
    assert refused(cli("info", own, "--json", "--plot", tmp_path / "a.png")).endswith("no video is encoded")


@pytest.mark.parametrize("ending", ["png", "PDF", "svg"])
def test_a_plot_is_written(cache_path: Path, cli: Cli, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new" / f"plot.{ending}"
    assert cli("info", cache_path, "--plot", path).exit_code == 0
    start = {"png": b"\x89PNG", "PDF": b"%PDF", "svg": b"<?xml"}[ending]
    assert path.read_bytes().startswith(start)
    if ending == "png":
        with Image.open(path) as picture:
            assert picture.width >= 1000


def refused(result: Result) -> str:
    """The one line on which a mistake is told; on standard error, with nothing beside it."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.output
    return lines[0]


def test_a_mistake_is_told_in_a_line(cache_path: Path, own: Path, cli: Cli, tmp_path: Path) -> None:
    assert ".png" in refused(cli("info", cache_path, "--plot", "plot.jpeg"))
    assert "no cache" in refused(cli("info", tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(cli("info", cache_path, "--json", "--plot", tmp_path / "file" / "a.png"))
    shutil.rmtree(own / "latents.zarr" / "00000" / "std_video")
    assert "verify" in refused(cli("info", own))


def test_a_plot_needs_an_ending_and_curves(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        plot_shares({}, 0, tmp_path / "a.png")
    with pytest.raises(UserError):
        plot_shares({"video": Curve(*np.ones((3, 51)))}, 1, tmp_path / "a.txt")

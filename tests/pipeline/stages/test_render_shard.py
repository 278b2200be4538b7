"""What render writes is Algorithm 1, within the rounding it says."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.corrections import WindowRecord, read_corrections, write_corrections
from s2vc.pipeline.cache.layout import INGEST
from s2vc.pipeline.cache.receipts import read_receipt
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.flow.architecture import CENTRED
from s2vc.pipeline.stages.render_shard import render_shard
from s2vc.pipeline.storage.files import sha256
from s2vc.pipeline.variants import Variant
from tests.conftest import CLIPS, FEW, FRAME_SIZE, VARIANTS
from tests.support.rounding import MARGIN, perturbed

LONG = "slide/a.mp4"


@pytest.fixture(scope="module")
def cache(cache_path: Path) -> Cache:
    return Cache(cache_path)


@pytest.fixture(scope="module")
def own(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A copy to render into."""
    import shutil

    path = tmp_path_factory.mktemp("own") / "cache"
    shutil.copytree(cache_path, path, ignore=shutil.ignore_patterns("motion"))
    return Cache(path)


def render(cache: Cache, *variants: Variant) -> None:
    """Render in this process, all shards."""
    for shard in range(len(cache.settings.shards())):
        render_shard(cache.layout, cache.settings, shard, list(variants), "cpu")


def algorithm_1(
    cache: Cache,
    video_id: str,
    frames: np.ndarray,
    alpha: float,
    std: np.ndarray | None,
    flow: Flow | None = None,
) -> np.ndarray:
    """V_p of one window in float32, written out from the paper: (L, H, W, 3), in grey levels, clipped."""
    flow = flow or load_flow(cache.layout.flow)
    v = torch.from_numpy(cache.frames(video_id)[frames]).permute(0, 3, 1, 2).float() / 255
    x = torch.from_numpy(cache.small(video_id)[frames]).permute(0, 3, 1, 2).float() / 255
    z = flow.encode(x)[0].numpy()
    deviation = z.astype(np.float64).std(axis=0, ddof=1) if std is None else std
    z[:, deviation < alpha] = 0
    x_p = flow.decode(torch.from_numpy(z))
    size = v.shape[2:]
    residual = v - torch.nn.functional.interpolate(x, size)
    v_p = torch.nn.functional.interpolate(x_p, size) + residual
    return (v_p.clamp(0, 1) * 255).permute(0, 2, 3, 1).numpy()


def scales(cache: Cache, video_id: str, variant: str) -> np.ndarray:
    """Scale of each window of a video, from the stored shard."""
    row = cache.index.index[cache.index["video_id"] == video_id][0]
    shard = int(cache.index["shard"][row])
    motion = read_corrections(cache.layout.motion(Variant.parse(variant), shard))
    place = int(row) - cache.settings.shards()[shard].start
    return motion.scale[motion.window_video == place]


def equals_algorithm_1_but_for_rounding(
    cache: Cache, video_id: str, variant: str, window: int, std: np.ndarray
) -> None:
    """In bfloat16: the latents that are static there are so here, and pixels may be off by what rounding makes them."""
    frames = cache.windows(video_id, variant)[window]
    exact = algorithm_1(cache, video_id, frames, 0.5, std)
    drawn = algorithm_1(cache, video_id, frames, 0.5, std, perturbed(load_flow(cache.layout.flow)))
    step = float(scales(cache, video_id, variant)[window]) * 255
    # Rounding to whole grey levels, and to steps of the correction, is off by up to a half: its square by a twelfth.
    limit = np.sqrt((MARGIN * np.square(drawn - exact).mean() ** 0.5) ** 2 + (1 + step**2) / 12)
    assert np.square(cache.motion_preserved(video_id, variant, window) - exact).mean() ** 0.5 <= limit


@pytest.mark.parametrize("video_id", FEW)
def test_scope_video_is_algorithm_1_in_bfloat16(caches: dict[str, Path], video_id: str) -> None:
    cache = Cache(caches[CENTRED])
    equals_algorithm_1_but_for_rounding(cache, video_id, "alpha0.5-zero-video", 0, cache.std(video_id))


@pytest.mark.parametrize("video_id", FEW)
def test_scope_clip_is_algorithm_1_in_bfloat16(caches: dict[str, Path], video_id: str) -> None:
    cache, variant = Cache(caches[CENTRED]), "alpha0.5-zero-clip16"
    for window, frames in enumerate(cache.windows(video_id, variant)):
        std = cache.latents(video_id)[frames].astype(np.float64).std(axis=0, ddof=1)
        equals_algorithm_1_but_for_rounding(cache, video_id, variant, window, std)


@pytest.mark.parametrize("video_id", CLIPS)
def test_scope_video_is_algorithm_1_within_half_a_step_and_one_grey_level(cache: Cache, video_id: str) -> None:
    frames = np.arange(CLIPS[video_id][0])
    std = None if len(frames) > 1 else np.zeros(12288)
    expected = algorithm_1(cache, video_id, frames, 0.5, std)
    got = cache.motion_preserved(video_id, "alpha0.5-zero-video")
    limit = scales(cache, video_id, "alpha0.5-zero-video")[0] / 2 * 255 + 1
    assert np.abs(got - expected).max() <= limit


@pytest.mark.parametrize("video_id", CLIPS)
def test_scope_clip_is_algorithm_1_of_every_window(cache: Cache, video_id: str) -> None:
    variant = "alpha0.5-zero-clip16"
    for window, frames in enumerate(cache.windows(video_id, variant)):
        # The STD of a window comes from z as cached, in float16; so do the static latents here.
        z = cache.latents(video_id)[frames].astype(np.float64)
        expected = algorithm_1(cache, video_id, frames, 0.5, z.std(axis=0, ddof=1))
        got = cache.motion_preserved(video_id, variant, window)
        assert np.abs(got - expected).max() <= scales(cache, video_id, variant)[window] / 2 * 255 + 1


def test_masks_from_float16_latents_hardly_differ_from_those_of_float32(cache: Cache) -> None:
    flow = load_flow(cache.layout.flow)
    x = torch.from_numpy(cache.small(LONG)).permute(0, 3, 1, 2).float() / 255
    exact = flow.encode(x)[0][:16].double().std(dim=0) < 0.5
    cached = torch.from_numpy(cache.latents(LONG, 0, 16)).double().std(dim=0) < 0.5
    assert float((exact != cached).double().mean()) < 1e-3


@pytest.mark.parametrize("name", VARIANTS)
def test_windows_cover_each_video_by_the_rule(cache: Cache, name: str) -> None:
    rule = Variant.parse(name).rule
    for video_id, (frames, _) in CLIPS.items():
        expected = [w.tolist() for w in rule.windows(frames)]
        assert [w.tolist() for w in cache.windows(video_id, name)] == expected


def test_shares_kept_are_those_of_the_stds(cache: Cache) -> None:
    for video_id in CLIPS:
        share = (cache.std(video_id) >= 0.5).mean()
        assert cache.kept(video_id, "alpha0.5-zero-video")[0] == pytest.approx(share, abs=1e-6)


def test_keep_sets_alpha_per_window_so_that_the_share_is_kept(cache: Cache) -> None:
    for video_id in (LONG, "orbit/a.mp4"):
        np.testing.assert_allclose(cache.kept(video_id, "keep0.2-zero-clip16"), 0.2, atol=1e-3)
    assert cache.kept("orbit/still.mp4", "keep0.2-zero-clip16").tolist() == [0.0], "nothing varies there"
    motion = read_corrections(cache.layout.motion(Variant.parse("keep0.2-zero-clip16"), 0))
    assert len(set(motion.alpha.tolist())) > 1


def test_alpha_zero_gives_a_correction_of_exactly_zero(own: Cache) -> None:
    variant = Variant(alpha=0.0)
    render(own, variant)
    for shard in (0, 1):
        motion = read_corrections(own.layout.motion(variant, shard))
        assert (motion.kept == 1).all()
        assert all((motion.change(w) == 0).all() for w in range(len(motion.scale)))
    np.testing.assert_array_equal(own.motion_preserved(LONG, variant), own.frames(LONG))


def test_an_alpha_above_every_std_suppresses_all(own: Cache) -> None:
    variant = Variant(alpha=1000.0)
    render(own, variant)
    assert own.kept(LONG, variant).tolist() == [0.0]
    black = load_flow(own.layout.flow).decode(torch.zeros(1, 12288))[0].permute(1, 2, 0).numpy()
    motion = read_corrections(own.layout.motion(variant, 0))
    got = own.small(LONG) / 255 + motion.change(0)
    assert np.abs(got - black).max() <= motion.scale[0] / 2 + 1e-3


def test_all_variants_of_a_call_are_those_of_separate_calls(own: Cache) -> None:
    variants = [Variant(alpha=0.3), Variant("noise", alpha=0.3), Variant("tfd", keep=0.2), Variant(alpha=0.0)]
    render(own, *variants)
    together = [sha256(own.layout.motion(v, s)) for v in variants for s in (0, 1)]
    for variant in reversed(variants):
        render(own, variant)
    assert [sha256(own.layout.motion(v, s)) for v in variants for s in (0, 1)] == together


def test_draws_of_a_random_strategy_differ_and_keep_the_same_share(own: Cache) -> None:
    draws = [Variant("random", alpha=0.5, draw=d) for d in (0, 1)]
    render(own, *draws)
    first, second = (own.motion_preserved(LONG, d) for d in draws)
    assert not np.array_equal(first, second)
    shares = [own.kept(LONG, d)[0] for d in draws]
    assert shares == [pytest.approx((own.std(LONG) >= 0.5).mean(), abs=1e-6)] * 2


def test_tfd_zeroes_the_pixels_that_vary_least(own: Cache) -> None:
    variant = Variant("tfd", keep=0.2)
    render(own, variant)
    x = own.small(LONG).astype(np.float64) / 255
    std = np.moveaxis(x.std(axis=0, ddof=1), -1, 0).ravel()  # channel, row, column
    wanted = round(0.2 * 12288)
    edge = np.sort(std)[::-1][wanted - 1]
    kept = std > edge + 1e-9
    equal = np.flatnonzero(np.abs(std - edge) <= 1e-9)
    kept[equal[: wanted - kept.sum()]] = True  # of equal ones, the first
    dropped = np.moveaxis(~kept.reshape(3, 64, 64), 0, -1)
    assert own.kept(LONG, variant)[0] == pytest.approx(wanted / 12288, abs=1e-6)
    motion = read_corrections(own.layout.motion(variant, 0))
    got = own.small(LONG) / 255 + motion.change(0)
    tolerance = motion.scale[0] / 2 + 1e-6
    assert np.abs(got[:, dropped]).max() <= tolerance
    assert np.abs(got - x)[:, ~dropped].max() <= tolerance


def test_reverse_keeps_what_zero_suppresses(own: Cache) -> None:
    variant = Variant("reverse", alpha=0.5)
    render(own, variant)
    assert own.kept(LONG, variant)[0] == pytest.approx((own.std(LONG) < 0.5).mean(), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_saturates_and_the_error_is_at_most_half_a_step(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    change = (rng.standard_normal((5, 64, 64, 3)) * rng.choice([1e-6, 0.1, 3.0])).astype(np.float32)

    def pieces() -> Iterator[np.ndarray]:
        yield change[:2]
        yield change[2:]

    with write_corrections(tmp_path / "00000.h5") as writer:
        writer.add(WindowRecord(0, np.arange(5), 0.5, 0.2), float(np.abs(change).max()), pieces())
    motion = read_corrections(tmp_path / "00000.h5")
    assert np.abs(motion.change(0) - change).max() <= motion.scale[0] * 0.501
    np.testing.assert_array_equal(motion.change(0, 1, 4), motion.change(0)[1:4])


def test_a_dry_run_says_what_a_variant_will_keep(cache_path: Path, cli: Callable[..., Result]) -> None:
    """Beside what these variants do keep, as they are rendered in the cache."""
    for scope, keep, name in (("video", "0.2", "alpha0.5-zero-video"), ("clip", "0.2", "alpha0.5-zero-clip16")):
        rendered = np.concatenate([Cache(cache_path).kept(v, name) for v in CLIPS])
        result = cli("render", cache_path, "--alpha", "0.5", "--keep", keep, "--scope", scope, "--dry-run")
        assert f"{name} keeps about {rendered.mean():.1%} of the latents" in result.output, result.output
        assert "keeps about 20.0% of the latents" in result.output
    nothing = cli("render", cache_path, "--alpha", "50", "--dry-run")
    assert "keeps about 0.0% of the latents" in nothing.output and "nearly nothing is left" in nothing.output
    for windows in (["--clip-length", "8"], ["--window-stride", "8"]):  # Their STDs are not in the cache.
        other = cli("render", cache_path, "--alpha", "0.5", "--scope", "clip", *windows, "--dry-run")
        assert other.exit_code == 0 and "keeps about" not in other.output


def test_dry_run_prints_bytes_and_time_and_writes_nothing(cache_path: Path, cli: Callable[..., Result]) -> None:
    before = sorted(cache_path.rglob("*"))
    result = cli("render", cache_path, "--alpha", "0.25", "--alpha", "0.75", "--dry-run")
    assert result.exit_code == 0, result.output
    frames = sum(frames for frames, _ in CLIPS.values())
    assert f"{2 * frames} frames" in result.output
    assert re.search(r"at most [\d.]+ MB on disk, and about \d+ s on \d cores?", result.output)
    assert sorted(cache_path.rglob("*")) == before


def test_a_dry_run_counts_workers_and_what_the_flow_decodes(cache_path: Path, cli: Callable[..., Result]) -> None:
    one = cli("render", cache_path, "--alpha", "0.25", "--workers", "1", "--dry-run")
    assert "on 1 core here" in one.output
    pixels = cli("render", cache_path, "--keep", "0.3", "--strategy", "tfd", "--dry-run")
    assert "and about 0 s on" in pixels.output and "0 frames" not in pixels.output


def test_a_render_that_is_done_does_nothing(cache_path: Path, cli: Callable[..., Result]) -> None:
    files = {p: p.stat().st_mtime_ns for p in cache_path.glob("motion/*/*.h5")}
    result = cli("render", cache_path, "--alpha", "0.5")
    assert result.exit_code == 0
    assert "0 frames to render" in result.output
    assert {p: p.stat().st_mtime_ns for p in cache_path.glob("motion/*/*.h5")} == files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--alpha"),
        (["--alpha", "-1"], "0 or more"),
        (["--alpha", "0.5", "--strategy", "tfd"], "--alpha has no meaning"),
        (["--alpha", "0.5", "--draws", "2"], "--draws and --seed go with a random strategy"),
        (["--keep", "0.5", "--strategy", "reverse", "--seed", "1"], "--draws and --seed go with a random strategy"),
        (["--keep", "2"], "0 to 1"),
        (["--alpha", "0.5", "--clip-length", "16"], "--scope clip"),
        (["--alpha", "0.5", "--strategy", "shuffle-clip"], "scope clip"),
    ],
)
def test_mistakes_get_one_line_and_code_2(
    cache_path: Path, cli: Callable[..., Result], arguments: list[str], message: str
) -> None:
    result = cli("render", cache_path, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.strip().count("\n") == 0


def test_stored_frames_keep_their_size(cache: Cache) -> None:
    assert cache.motion_preserved(LONG, VARIANTS[0], start=3, stop=9).shape == (6, *FRAME_SIZE, 3)
    receipt = read_receipt(cache.layout, INGEST, 0)
    assert receipt is not None
    assert receipt.frames == cache.index[cache.index["shard"] == 0]["frames"].sum()

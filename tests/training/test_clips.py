"""Pairs over a cache: Algorithm 1 on the stored frames, windows, padding, draws, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import Result
from torch import Tensor

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.frames import pool_small
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.flow.architecture import CENTRED
from s2vc.pipeline.static_cues import upsample
from s2vc.pipeline.variants import Variant
from s2vc.training.clips import LabelledClips, MotionClip, PairClips, SingleClips, as_video, motion_preserved_video
from s2vc.training.loader import EpochBatches, Loader, spare_cpus
from tests.support.rounding import MARGIN, perturbed, rms

LENGTH = 8
VIDEO, CLIP16 = "alpha0.5-zero-video", "alpha0.5-zero-clip16"


def pixels(frames: np.ndarray) -> Tensor:
    """(L, H, W, 3) uint8 -> (3, L, H, W) float32 in [0, 1], the plain way."""
    return torch.from_numpy(frames.astype(np.float32) / np.float32(255)).permute(3, 0, 1, 2)


def algorithm_1(flow: Flow, frames: np.ndarray, std: np.ndarray, alpha: float) -> Tensor:
    """V_p (3, L, H, W) of stored frames, computed from their pixels, with a mask by `std`."""
    x = torch.from_numpy(pool_small(frames)).permute(0, 3, 1, 2).float() / 255
    z, _ = flow.encode(x)
    change = flow.decode(z * torch.from_numpy(std >= np.float32(alpha))) - x
    return pixels(frames) + upsample(change, *frames.shape[1:3]).transpose(0, 1)


def place_of(cache: Cache, video_id: str, query: Tensor) -> int:
    """The frame of a video at which a query clip begins."""
    frames = cache.frames(video_id)
    starts = [s for s in range(len(frames) - len(query) + 1) if np.array_equal(frames[s : s + len(query)], query)]
    assert starts
    return starts[0]


@pytest.mark.parametrize(("precision", "long"), [("float32", 4), (CENTRED, 2)])
def test_a_pair_is_stored_frames_and_algorithm_1_of_them(caches: dict[str, Path], precision: str, long: int) -> None:
    cache = Cache(caches[precision])
    flow = load_flow(cache.layout.flow)
    pairs = PairClips(cache, [VIDEO], LENGTH, split="all", pair="same")
    checked = 0
    for item, video_id in enumerate(pairs.video_ids):
        query, key = pairs[item]
        assert isinstance(key, MotionClip)
        if int(cache.index["frames"][cache.index["video_id"] == video_id].iloc[0]) < LENGTH:
            continue
        start = place_of(cache, video_id, query)
        frames = cache.frames(video_id, start, start + LENGTH)
        expected = algorithm_1(flow, frames, cache.std(video_id), 0.5)
        got = motion_preserved_video(MotionClip(*(part[None] for part in key)))[0]
        if precision == "float32":
            # Half a step of the correction, and what the rounding of z to float16 moves.
            assert (got - expected).abs().max() <= float(key.scale) / 2 + 1e-3
        else:
            drawn = algorithm_1(perturbed(flow), frames, cache.std(video_id), 0.5)
            assert rms(got - expected) <= MARGIN * rms(drawn - expected) + float(key.scale) / 12**0.5
        np.testing.assert_allclose(as_video(query[None])[0], pixels(frames), atol=1e-7)
        checked += 1
    assert checked == long


def test_keys_of_scope_clip_are_the_variants_windows_with_masks_of_their_own(cache_path: Path) -> None:
    cache = Cache(cache_path)
    flow = load_flow(cache.layout.flow)
    pairs = PairClips(cache, [CLIP16], 16, split="all", pair="same")
    item = pairs.video_ids.index("slide/a.mp4")
    allowed = {int(w[0]) for w in cache.windows("slide/a.mp4", CLIP16)}
    assert allowed == {0, 16, 24}
    seen = set()
    for epoch in range(20):
        pairs.set_epoch(epoch)
        query, key = pairs[item]
        start = place_of(cache, "slide/a.mp4", query)
        if start in seen:
            continue
        seen.add(start)
        frames = cache.frames("slide/a.mp4", start, start + 16)
        x = torch.from_numpy(pool_small(frames)).permute(0, 3, 1, 2).float() / 255
        std = flow.encode(x)[0].double().std(dim=0).float().numpy()
        # The cached mask comes from z in float16: latents whose STD lies within its rounding of alpha may flip.
        assert (np.abs(std - 0.5) < 1e-3).mean() < 1e-3
        assert isinstance(key, MotionClip)
        got = motion_preserved_video(MotionClip(*(part[None] for part in key)))[0]
        error = (got - algorithm_1(flow, frames, std, 0.5)).abs()
        assert error.quantile(0.99) <= float(key.scale) / 2 + 1e-3
    assert seen == allowed


def test_short_videos_are_padded_on_the_left_by_their_first_frame(cache_path: Path) -> None:
    cache = Cache(cache_path)
    pairs = PairClips(cache, [VIDEO], 16, split="all")
    query, key = pairs[pairs.video_ids.index("orbit/short.mp4")]  # 9 frames
    frames = cache.frames("orbit/short.mp4")
    expected = np.concatenate([np.repeat(frames[:1], 7, axis=0), frames])
    np.testing.assert_array_equal(query, expected)
    assert isinstance(key, MotionClip)
    np.testing.assert_array_equal(key.frames, expected)
    assert all(torch.equal(key.correction[0], key.correction[t]) for t in range(8))
    assert not torch.equal(key.correction[0], key.correction[8])


def test_frame_steps_are_kept_in_query_and_key(cache_path: Path) -> None:
    cache = Cache(cache_path)
    pairs = PairClips(cache, [VIDEO], 4, frame_step=3, split="all", pair="same")
    frames, shard = cache.frames("slide/a.mp4"), cache.motion_preserved("slide/a.mp4", VIDEO)
    query, key = pairs[pairs.video_ids.index("slide/a.mp4")]
    starts = [s for s in range(len(frames) - 9) if np.array_equal(frames[s : s + 10 : 3], query)]
    assert starts
    assert isinstance(key, MotionClip)
    shown = motion_preserved_video(MotionClip(*(part[None] for part in key)))[0].permute(1, 2, 3, 0).numpy()
    wanted = shard[starts[0] : starts[0] + 10 : 3]
    np.testing.assert_array_equal(np.clip(np.rint(shown * 255), 0, 255).astype(np.uint8), wanted)


def single(cache: Path, variants: list[str], preserved: float, **more: int) -> SingleClips:
    chosen = {"clip_length": 16, "frame_step": 1} | more
    return SingleClips(cache, variants, preserved, split="all", **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", [VIDEO, CLIP16])
def test_an_augmented_clip_is_a_key_of_s2vc_or_the_stored_frames_as_they_are(variant: str, cache_path: Path) -> None:
    cache = Cache(cache_path)
    clips, video_id, preserved = single(cache_path, [variant], 0.5), "slide/a.mp4", []
    starts = [int(w[0]) for w in cache.windows(video_id, variant)]
    for epoch in range(40):
        clips.set_epoch(epoch)
        clip = clips[clips.video_ids.index(video_id)]
        assert isinstance(clip, MotionClip)
        start = place_of(cache, video_id, clip.frames)
        shown = motion_preserved_video(MotionClip(*(part[None] for part in clip)))[0].permute(1, 2, 3, 0).numpy()
        preserved.append(float(clip.scale) > 0)
        if not preserved[-1]:
            expected = cache.frames(video_id, start, start + 16)
        elif variant == VIDEO:
            expected = cache.motion_preserved(video_id, variant)[start : start + 16]
        else:
            expected = cache.motion_preserved(video_id, variant, starts.index(start))
        np.testing.assert_array_equal(np.clip(np.rint(shown * 255), 0, 255).astype(np.uint8), expected)
    assert 0.25 < np.mean(preserved) < 0.75


def test_without_variants_a_clip_is_stored_frames_alone(cache_path: Path) -> None:
    clips = single(cache_path, [], 0.5, frame_step=3, clip_length=6)
    (clip,) = clips[clips.video_ids.index("slide/a.mp4")]
    frames = Cache(cache_path).frames("slide/a.mp4")
    assert any(np.array_equal(clip, frames[s : s + 16 : 3]) for s in range(len(frames) - 15))


def test_all_clips_are_preserved_where_that_is_asked_for(cache_path: Path) -> None:
    clips = single(cache_path, [VIDEO, "keep0.2-zero-clip16"], 1.0)
    moving = [i for i, v in enumerate(clips.video_ids) if v != "orbit/still.mp4"]
    assert all(float(clips[i].scale) > 0 for i in moving)  # type: ignore[union-attr]


def test_a_variant_of_other_clips_is_refused_with_the_command_for_blocks(cache_path: Path) -> None:
    with pytest.raises(UserError, match=r"alpha0\.5-zero-clip40-step3, rendered by .*--clip-length 40 --frame-step 3"):
        SingleClips(cache_path, [CLIP16], split="all")


def test_draws_depend_on_seed_epoch_and_item_alone(cache_path: Path) -> None:
    one, two = (PairClips(cache_path, [VIDEO, CLIP16], 16, split="all", seed=3) for _ in range(2))
    for pairs in (one, two):
        pairs.set_epoch(5)
    _ = one[2]  # what was asked before changes nothing
    for a, b in zip(flat(one[0]), flat(two[0]), strict=True):
        assert torch.equal(a, b)
    two.set_epoch(6)
    assert any(not torch.equal(a, b) for a, b in zip(flat(one[0]), flat(two[0]), strict=True))


def flat(pair: tuple[Tensor, MotionClip | Tensor]) -> list[Tensor]:
    query, key = pair
    return [query, key] if isinstance(key, Tensor) else [query, *key]


def test_each_of_several_variants_is_drawn(cache_path: Path) -> None:
    pairs = PairClips(cache_path, [VIDEO, "keep0.2-zero-clip16"], 16, split="all")
    scales = set()
    for epoch in range(20):
        pairs.set_epoch(epoch)
        _, key = pairs[0]
        assert isinstance(key, MotionClip)
        scales.add(round(float(key.scale), 6))
    assert len(scales) > 1


def test_plain_moco_gets_two_starts_or_one(cache_path: Path) -> None:
    independent = PairClips(cache_path, (), LENGTH, split="all")
    same = PairClips(cache_path, (), LENGTH, split="all", pair="same")
    assert torch.equal(*same[0])  # type: ignore[arg-type]
    differing = 0
    for epoch in range(10):
        independent.set_epoch(epoch)
        query, key = independent[0]
        assert isinstance(key, Tensor)
        differing += not torch.equal(query, key)
    assert differing >= 8


def without_training_rows(cache_path: Path, folder: Path) -> Path:
    shutil.copytree(cache_path, folder / "cache")
    index = folder / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",train,", ",val,"))
    return folder / "cache"


def test_training_rows_are_those_of_the_split(cache_path: Path, tmp_path: Path) -> None:
    assert PairClips(cache_path, (), LENGTH).video_ids == ["slide/a.mp4", "orbit/a.mp4", "orbit/still.mp4"]
    assert len(PairClips(cache_path, (), LENGTH, split="all")) == 5  # the missing one has no frames
    with pytest.raises(UserError, match="no training rows: no video has 'train' in column split1"):
        PairClips(without_training_rows(cache_path, tmp_path), (), LENGTH)
    with pytest.raises(UserError, match="no split 'split7'; it has split1"):
        PairClips(cache_path, (), LENGTH, split="split7")


def test_labelled_clips_have_the_class_of_their_video(cache_path: Path) -> None:
    clips = LabelledClips(Cache(cache_path), LENGTH, 1, "all", seed=0)
    assert clips.classes == 2
    labels = {i: int(clips[n][1]) for n, i in enumerate(clips.videos.index["video_id"])}
    assert labels == {
        "slide/a.mp4": 1,
        "slide/b c.mp4": 1,
        "orbit/a.mp4": 0,
        "orbit/short.mp4": 0,
        "orbit/still.mp4": 0,
    }


def test_still_clips_are_the_middle_frame_throughout(cache_path: Path) -> None:
    moving, still = (LabelledClips(Cache(cache_path), LENGTH, 2, "all", seed=0, still=s) for s in (False, True))
    for item in range(len(still)):
        (frames, label), (shown, same) = moving[item], still[item]
        assert torch.equal(shown, frames[LENGTH // 2].expand_as(frames)) and label == same


@pytest.mark.parametrize(
    ("variant", "length", "step", "command"),
    [
        ("alpha0.7-zero-video", 16, 1, "--alpha 0.7`"),
        (CLIP16, 32, 1, "--alpha 0.5 --scope clip --clip-length 32"),
        (CLIP16, 16, 2, "--alpha 0.5 --scope clip --clip-length 16 --frame-step 2"),
    ],
)
def test_a_variant_without_such_clips_is_refused_with_the_command_that_makes_it(
    variant: str, length: int, step: int, command: str, cache_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        PairClips(cache_path, [variant], length, step, split="all")
    assert f"s2vc-prep render {cache_path}" in str(caught.value)
    assert command in str(caught.value)


def test_the_advised_command_makes_what_was_missing(
    cache_path: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    shutil.copytree(cache_path, tmp_path / "cache")
    with pytest.raises(UserError) as caught:
        PairClips(tmp_path / "cache", [CLIP16], 8, 2, split="all")
    command = str(caught.value).split("`")[1].split()
    assert command[0] == "s2vc-prep"
    assert cli(*command[1:]).exit_code == 0
    name = str(caught.value).split("take ")[1].split(",")[0]
    query, _ = PairClips(tmp_path / "cache", [name], 8, 2, split="all")[0]
    assert query.shape == (8, 72, 98, 3)


def loaded(pairs: PairClips, workers: int) -> list[list[Tensor]]:
    batches = EpochBatches(pairs.shards, 2, seed=1)
    loader = Loader(pairs, batches, torch.device("cpu"), workers)
    return [flat(batch) for epoch in range(2) for batch in loader.epoch(epoch)]


def test_worker_processes_read_the_same_pairs(cache_path: Path) -> None:
    pairs = PairClips(cache_path, [VIDEO], LENGTH, split="all")
    pairs[0]  # a shard is open here already when the workers start
    here, there = loaded(pairs, 0), loaded(pairs, 2)
    assert len(here) == len(there) == 4
    for a, b in zip(here, there, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(here[0][0], here[2][0])  # another epoch


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("part", ["frames", "motion"])
def test_a_damaged_shard_is_reported_in_one_line(part: str, workers: int, cache_path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(cache_path, cache)
    for path in (cache / part).rglob("*.h5"):
        content = bytearray(path.read_bytes())
        for at in range(len(content) // 4, len(content) * 3 // 4, 50):
            content[at] ^= 255
        path.write_bytes(content)
    pairs = PairClips(cache, [Variant.parse(VIDEO)], LENGTH, split="all")
    with pytest.raises(UserError, match=r"cannot be read .*s2vc-prep verify") as caught:
        loaded(pairs, workers)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("cpus", "processes", "readers"),
    [(1, 1, 1), (4, 1, 3), (64, 1, 8), (64, 8, 7), (64, 16, 3), (16, 16, 1), (256, 8, 8), (8, 16, 1)],
)
def test_spare_cpus_of_a_machine_are_divided_among_its_processes(
    cpus: int, processes: int, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2vc.training.loader.available_cpus", lambda: cpus)
    assert spare_cpus(processes) == readers


def test_batches_of_all_processes_together_are_the_batches_of_one() -> None:
    shards = np.arange(23) // 4
    whole = EpochBatches(shards, 6, seed=4)
    parts = [EpochBatches(shards, 6, seed=4, rank=r, processes=3) for r in range(3)]
    for sampler in (whole, *parts):
        sampler.epoch = 2
    together = [[i for part in step for i in part] for step in zip(*map(list, parts), strict=True)]
    assert together == list(whole)
    assert len(whole) == 3 and len({i for step in whole for i in step}) == 18
    whole.first_step = 2
    assert list(whole) == together[2:]


@pytest.mark.parametrize("processes", [1, 4])
def test_over_shards_at_hand_a_shard_is_fetched_once_an_epoch(processes: int) -> None:
    """By a process that keeps the shards used last, a quarter more of them than are at hand."""
    shards, at_hand, batch = np.repeat(np.arange(200), 16), 20, 32
    fetched, seen, mixed = 0, [], []
    for rank in range(processes):
        sampler = EpochBatches(shards, batch, 7, rank, processes, at_hand)
        kept: list[int] = []
        for step in sampler:
            assert len(step) == batch // processes
            seen += step
            mixed.append(len(set(shards[step])) / len(step))
            for shard in shards[step].tolist():
                fetched += shard not in kept
                kept = [*(s for s in kept if s != shard), shard][-(at_hand // processes * 5 // 4 + 1) :]
    assert len(seen) == len(set(seen)) == 3200
    assert 200 <= fetched <= 200 + processes - 1, "two processes may share the shard at the border of their runs"
    assert np.mean(mixed) > 0.4, "a batch is of many shards: in one after another it would be of a tenth as many"


def test_over_shards_at_hand_epochs_differ_and_are_gone_on_with() -> None:
    sampler = EpochBatches(np.repeat(np.arange(30), 5), 8, 7, shards_at_hand=4)
    first = list(sampler)
    sampler.first_step = 5
    assert list(sampler) == first[5:]
    sampler.first_step, sampler.epoch = 0, 1
    assert list(sampler) != first
    assert {i for step in first for i in step} != {i for step in sampler for i in step}, "others are left out"


def test_labelled_clips_take_their_classes_from_the_column_that_is_asked_for(cache_path: Path, tmp_path: Path) -> None:
    shutil.copytree(cache_path, tmp_path / "cache")
    index = pd.read_csv(tmp_path / "cache" / "index.csv", dtype=str, keep_default_na=False)
    index.insert(4, "row", ["zoo", "bar", "", "bar", "zoo", "arc"])  # a name that our own tables have, too
    index.to_csv(tmp_path / "cache" / "index.csv", index=False)
    cache = Cache(tmp_path / "cache")
    clips = LabelledClips(cache, LENGTH, 1, "all", seed=0, label="row")
    assert clips.classes == 3
    labels = {i: int(clips[n][1]) for n, i in enumerate(clips.videos.index["video_id"])}
    names = dict(zip(index["video_id"], index["row"], strict=True))
    assert labels == {video: sorted({"arc", "bar", "zoo"}).index(names[video]) for video in labels} and len(labels) == 5
    index.loc[0, "row"] = ""
    index.to_csv(tmp_path / "cache" / "index.csv", index=False)
    with pytest.raises(UserError, match=r"1 training videos have no row, first slide/a\.mp4"):
        LabelledClips(Cache(tmp_path / "cache"), LENGTH, 1, "all", seed=0, label="row")
    with pytest.raises(UserError, match="no column 'mood'"):
        LabelledClips(cache, LENGTH, 1, "all", seed=0, label="mood")


def test_a_dataset_tells_what_it_holds(cache_path: Path) -> None:
    pairs = PairClips(cache_path, [VIDEO], 4, 2, split="all")
    assert repr(pairs) == f"PairClips({str(cache_path)!r}: 5 videos, clips of 4 frames, 2 apart, {VIDEO})"

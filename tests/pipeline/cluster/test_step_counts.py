"""What is done within a shard is seen before the shard ends: on real workers of Ray, and by what real stages report."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.layout import ENCODE, INGEST, Layout
from s2vc.pipeline.cluster.scheduler import Step, run_chains
from s2vc.pipeline.console.step_tally import StepTally
from s2vc.pipeline.reporting import followed, report_within
from s2vc.pipeline.stages.encode_shard import encode_shard
from s2vc.pipeline.stages.ingest_shard import Source, ingest_shard
from s2vc.pipeline.stages.render_shard import render_shard
from s2vc.pipeline.variants import Variant
from tests.support.clips import moving_square, write_clip

FRAMES = {"a.mp4": 5, "b.mp4": 20, "c.mp4": 9}


def test_counts_reach_the_driver_while_the_step_runs(ray_session: None, tmp_path: Path) -> None:
    """The step ends only once the driver has seen its counts."""

    def step(seen: Path) -> str:
        import time

        from s2vc.pipeline.reporting import report_within

        report_within(2, 7)
        until = time.monotonic() + 300
        while not seen.exists():
            assert time.monotonic() < until, "nobody has seen the counts"
            time.sleep(0.02)
        return "ended"

    def within(counts: Mapping[tuple[str, int], tuple[int, int]]) -> None:
        if counts.get(("encode", 3)) == (2, 7):
            (tmp_path / "seen").touch()

    results: list[Any] = []
    chains = [deque([Step("encode", 3, step, (tmp_path / "seen",))])]
    outcome = run_chains(chains, None, lambda step, result: results.append(result), within)
    assert results == ["ended"] and not outcome.unfinished


def test_a_tally_counts_what_runs_and_what_has_ended_once() -> None:
    shown, total, notes = [], [0, 0], []

    def advance(units: int, frames: int, note: str = "", at: int | None = None) -> None:
        total[0], total[1] = total[0] + units, total[1] + frames
        shown.append(tuple(total))
        notes.append(note)

    tally = StepTally(advance, ENCODE, INGEST)
    tally.within({(INGEST, 0): (3, 40)})
    tally.ended(INGEST, 0, 4, 50)
    tally.within({(INGEST, 0): (3, 40), (ENCODE, 0): (2, 25), (ENCODE, 1): (1, 8)})
    tally.within({(ENCODE, 0): (3, 35), (ENCODE, 1): (0, 0)})  # a worker died, and its step begins again
    tally.ended(ENCODE, 0, 4, 50)
    tally.within({(ENCODE, 0): (3, 35), (ENCODE, 1): (2, 16)})  # this was asked for before shard 0 ended
    assert shown == [(0, 0), (0, 0), (3, 33), (3, 35), (4, 50), (6, 66)]
    assert notes[:3] == ["3 decoded", "4 decoded", "4 decoded"] and notes[-1] == ""


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory, cache_path: Path) -> tuple[Layout, Any]:
    """A cache's folder for one shard of FRAMES, ingested, with the settings and the flow of the tests' cache."""
    folder = tmp_path_factory.mktemp("within")
    for name, frames in FRAMES.items():
        write_clip(folder / name, moving_square(frames))
    known, layout = Cache(cache_path), Layout(folder / "cache")
    layout.root.mkdir()
    layout.flow.symlink_to(known.layout.flow.absolute())
    return layout, known.settings


def test_stages_report_each_video_as_it_ends(shard: tuple[Layout, Any]) -> None:
    (layout, settings), reports = shard, []
    sources = [Source(name, name) for name in FRAMES]
    with followed(lambda videos, frames: reports.append((videos, frames))):
        ingest_shard(layout, settings, 0, sources, layout.root.parent)
        assert reports == [(1, 5), (2, 25), (3, 34)]
        reports.clear()
        encode_shard(layout, settings, 0, "cpu")
        assert reports == sorted(reports) and reports[-1] == (3, 34)
        ends = [5, 25, 34]
        assert all(videos == sum(end <= frames for end in ends) for videos, frames in reports)
        reports.clear()
        render_shard(layout, settings, 0, [Variant(alpha=0.3), Variant(alpha=0.5)], "cpu")
        assert reports == [(0, 10), (1, 50), (2, 68)]
    report_within(1, 1)  # nobody follows, and nothing happens
    assert reports[-1] == (2, 68)

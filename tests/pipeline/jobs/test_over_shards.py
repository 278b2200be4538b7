"""Shards are read in order, by one process or by several, and an error or a killed process is told."""

import operator
import os
from pathlib import Path

import pytest

from s2vc.manifests.errors import Stopped
from s2vc.pipeline.jobs import over_shards as module
from s2vc.pipeline.jobs.over_shards import over_shards


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three shards be enough for a process."""
    monkeypatch.setattr(module, "SHARDS_A_PROCESS", 3)


def process_of(shard: int) -> tuple[int, int]:
    return shard, os.getpid()


def test_few_shards_are_read_by_this_process() -> None:
    assert list(over_shards(process_of, range(5), workers=4)) == [(n, os.getpid()) for n in range(5)]
    assert list(over_shards(process_of, [])) == []


def test_many_shards_are_read_by_others_in_order(few: None) -> None:
    shards, processes = zip(*over_shards(process_of, range(40), workers=2), strict=True)
    assert shards == tuple(range(40))
    assert os.getpid() not in processes
    assert len(set(processes)) <= 2


def test_one_worker_is_this_process(few: None) -> None:
    assert {process for _, process in over_shards(process_of, range(40), workers=1)} == {os.getpid()}


def test_an_error_is_raised_where_its_shard_would_come(few: None) -> None:
    answers = over_shards(operator.index, [*range(20), "no number", *range(20)], workers=2)
    assert [next(answers) for _ in range(16)] == list(range(16))
    with pytest.raises(TypeError):
        list(answers)


def test_a_killed_process_is_one_line(few: None) -> None:
    with pytest.raises(Stopped, match="was killed"):
        list(over_shards(os._exit, range(1, 20), workers=2))


def test_who_stops_asking_leaves_no_process_behind(few: None) -> None:
    answers = over_shards(process_of, range(400), workers=2)
    _, process = next(answers)
    answers.close()  # type: ignore[attr-defined] # it is a generator
    assert not Path(f"/proc/{process}").exists()

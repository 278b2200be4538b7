"""The study of docs/evidence.md: runs do not get into each other's way, and each arm has one to be compared with."""

from pathlib import Path

from tests.benchmarks.evidence.__main__ import measures, planned
from tests.benchmarks.evidence.arms import GROUPS, baseline_of
from tests.benchmarks.evidence.table import Measure, read_rows


def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    trained = [(study, arm, seed) for study, arm, seed in planned(tmp_path, short=False) if arm.method != "random"]
    assert len({study.run_folder(arm, seed) for study, arm, seed in trained}) == len(trained)


def test_every_run_is_compared_with_one_that_was_trained_alike(tmp_path: Path) -> None:
    plan = planned(tmp_path, short=False)
    assert {arm.name for _, arm, _ in plan} == {arm.name for arms in GROUPS.values() for arm in arms}
    baselines = {arm.name: arm for _, arm, _ in plan}
    for study, arm, _ in plan:
        other = baselines[baseline_of(arm.name)]
        assert Measure("retrieval", "neutral", "motion") in measures(other, study)
        assert ("--symmetric" in arm.options) == ("--symmetric" in other.options)


def test_rows_that_are_committed_are_of_arms_that_there_are() -> None:
    rows = read_rows()
    assert len({(row.arm, row.shift, row.seed, row.measure) for row in rows}) == len(rows)
    assert all(baseline_of(row.arm) and abs(row.value - row.hits.mean()) < 1e-9 for row in rows)

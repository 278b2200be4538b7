"""The study of docs/evidence.md: runs do not get into each other's way, and each arm has one to be compared with."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.evidence.__main__ import measures, planned
from tests.benchmarks.evidence.arms import GROUPS, baseline_of
from tests.benchmarks.evidence.six_motions import ARMS as SIX_ARMS
from tests.benchmarks.evidence.six_motions import SIX_ROWS, pose
from tests.benchmarks.evidence.table import ROWS, Measure, read_rows


def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    trained = [(study, arm, seed) for study, arm, seed in planned(tmp_path) if arm.method != "random"]
    assert len({study.run_folder(arm, seed) for study, arm, seed in trained}) == len(trained)


def test_every_run_is_compared_with_one_that_was_trained_alike(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert {arm.name for _, arm, _ in plan} == {arm.name for arms in GROUPS.values() for arm in arms}
    baselines = {arm.name: arm for _, arm, _ in plan}
    for study, arm, _ in plan:
        other = baselines[baseline_of(arm.name)]
        assert Measure("retrieval", "neutral", "motion") in measures(other, study)
        assert ("--symmetric" in arm.options) == ("--symmetric" in other.options)


@pytest.mark.parametrize("path", [ROWS, SIX_ROWS])
def test_rows_that_are_committed_are_of_arms_that_there_are(path: Path) -> None:
    rows = read_rows(path)
    assert rows and len({(row.arm, row.shift, row.seed, row.measure) for row in rows}) == len(rows)
    assert all(abs(row.value - row.hits.mean()) < 1e-9 for row in rows)
    known = (
        {arm.name for arm in SIX_ARMS} if path == SIX_ROWS else {arm.name for arms in GROUPS.values() for arm in arms}
    )
    assert {row.arm for row in rows} <= known


def test_what_a_frame_tells_of_a_pose_is_its_place_and_size() -> None:
    masks = np.zeros((5, 40, 60), bool)
    masks[2, 10:14, 30:36] = True  # Of the middle frame alone: 4 by 6 pixels around 11.5, 32.5.
    y, x, area, extent = pose(masks)[[0, 1, 6, 7]]
    assert (y, x) == pytest.approx((11.5 / 40 - 0.5, 32.5 / 40 - 0.75))
    assert (area, extent) == pytest.approx((24 / 2400, np.hypot(3, 5) / 40))

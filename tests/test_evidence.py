"""The study of docs/evidence.md: runs do not get into each other's way, and each arm has one to be compared with."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.evidence.__main__ import measures, planned
from tests.benchmarks.evidence.arms import GROUPS, baseline_of
from tests.benchmarks.evidence.six_motions import ARMS as SIX_ARMS
from tests.benchmarks.evidence.six_motions import ASKED, SIX_ROWS, pose, report
from tests.benchmarks.evidence.table import ROWS, Measure, Row, add_rows, read_rows


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


def test_the_report_of_six_motions_says_what_was_found_and_what_it_means(tmp_path: Path) -> None:
    """Twelve videos: MoCo finds every second one, alpha 0.5 all, alpha 0.9 the first half and of still clips none."""
    answers = {
        "MoCo": {"R@1": "101010101010"},
        "S²VC, alpha 0.5, symmetric": {"R@1": "1" * 12},
        "S²VC, alpha 0.9, symmetric": {"R@1": "1" * 6 + "0" * 6, "R@1, still clips": "0" * 12},
    }
    path = tmp_path / "rows.csv"
    for arm, found in answers.items():
        for asked, outcomes in found.items():
            share = outcomes.count("1") / 12
            add_rows([Row(arm, 0.0, 0, 9, *ASKED[asked], share, outcomes, 1.0, "a machine")], path)
    report(path, alone=0.25)
    text = path.with_suffix(".md").read_text()
    assert "| S²VC, alpha 0.5 | 100.0 (100.0 to 100.0) |  | 50.0 (" in text
    assert "| S²VC, alpha 0.9 | 50.0 (" in text and "| 0.0 (0.0 to 0.0) | 0.0 (" in text
    assert text.count("no difference shown") == 1
    for row in ("MoCo | 50 | 50 | 50 | 50 | 50 | 50", "S²VC, alpha 0.9 | 100 | 100 | 100 | 0 | 0 | 0"):
        assert f"| {row} |" in text  # Two videos of each motion, whose names are sorted.
    for words in ("the 12 test videos", "chance is 16.7", "masks tells 25.0 %", "one seed"):
        assert words in " ".join(text.split())
    assert {p.name for p in tmp_path.glob("*.png")} == {"rows.png", "rows-alphas.png"}

"""The figures of the flow's speed, as far as a CPU can tell: that they are there, for each precision."""

from pathlib import Path

import pytest

from s2vc.pipeline.flow.architecture import CENTRED
from tests.gpu import flow_speed
from tests.gpu.parts import Place


def test_the_speed_is_measured_in_each_precision_where_auto_is_centred(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A GPU chooses bfloat16-centred, which rounds the weights of a flow for good.
    monkeypatch.setattr(flow_speed, "choose_precision", lambda precision, device: CENTRED)
    questions = flow_speed.flow_speed(Place(tmp_path, tmp_path, "cpu", tiny=True))
    for precision in (CENTRED, "float32"):
        found = questions[f"built-in, {precision}, batch 2"]()
        assert found["encode"]["frames/s"] > 0 and found["decode"]["frames/s"] > 0
        # docs/flow-cards.md and the paper's design say what a frame costs.
        assert found["GFLOP a frame"] == pytest.approx(1.05, rel=0.01)

"""A flow that is fitted comes home in parts, and a later fit goes on from them."""

from pathlib import Path

import pytest
import torch

from s2vc.pipeline.flow import Architecture, load_flow, save_flow
from s2vc.pipeline.flow.model import new_flow
from tests.gpu import fit
from tests.gpu.parts import Place


def test_a_flow_comes_home_in_parts_that_a_later_fit_starts_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit, "PART_BYTES", 100_000)
    home = tmp_path / "home"
    home.mkdir()
    place = Place(tmp_path, home, "cpu", tiny=True)
    assert fit.starting_flow(place, 0.02) is None
    flow = new_flow(Architecture(hidden=4, width=4), seed=3)
    save_flow(flow, whole := tmp_path / "published-noise0.02.safetensors")
    files = fit.write_home(whole, home)
    assert len(files) > 1 and all(f.stat().st_size <= 100_000 for f in files)
    assert sorted(home.iterdir()) == files
    for noise in (0.02, 0.04):  # There is none of 0.04 yet.
        start = fit.starting_flow(place, noise)
        assert start and start.stat().st_size < 0.6 * sum(4 * p.numel() for p in flow.state_dict().values())
        for name, value in load_flow(start).state_dict().items():
            torch.testing.assert_close(value, flow.state_dict()[name], rtol=2**-10, atol=1e-7)

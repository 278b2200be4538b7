"""Fitting: bits per dimension against a plain computation, a loss that falls, a fit that goes on to the same bits."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from s2vc.pipeline.flow import Architecture, load_flow, save_flow
from s2vc.pipeline.flow.checkpoints import flow_record
from s2vc.pipeline.flow.likelihood import bits_per_dimension, dequantised, evaluated_bits
from s2vc.pipeline.flow.model import new_flow
from s2vc.pipeline.flow_fitting.fit_settings import FitSettings
from s2vc.pipeline.flow_fitting.fitting import Fitting, learning_rate

TINY = Architecture(hidden=4, width=4, high_blocks=1, low_blocks=1, deep_blocks=1)
CPU = torch.device("cpu")


def photographs(n: int, seed: int = 0) -> Tensor:
    """Smooth images, so that there is something to learn: (n, 3, 64, 64) uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear").round().byte()


def fitting(settings: FitSettings) -> Fitting:
    return Fitting(new_flow(TINY, settings.seed), photographs(40), photographs(10, seed=1), settings, CPU)


def test_dequantisation_stays_within_the_level_and_noise_adds_to_it() -> None:
    images = photographs(3)
    x = dequantised(images, 0.0, torch.Generator().manual_seed(1))
    offset = x * 256 - images
    assert float(offset.min()) >= 0 and float(offset.max()) <= 1
    assert abs(float(offset.mean()) - 0.5) < 0.01 and abs(float(offset.std()) - 12**-0.5) < 0.01
    noisy = dequantised(images, 0.02, torch.Generator().manual_seed(1))
    assert abs(float((noisy - x).std()) - 0.02) < 0.001


def test_bits_of_a_new_flow_are_those_of_a_standard_normal_of_the_image() -> None:
    # Its couplings are the identity, and its rotations change neither length nor volume.
    flow, x = new_flow(TINY, 0), torch.rand(4, 3, 64, 64)
    d = x[0].numel()
    nats = (0.5 * x.double().flatten(1).square().sum(dim=1) + 0.5 * d * math.log(2 * math.pi)) / d
    np.testing.assert_allclose(bits_per_dimension(flow, x).detach(), (nats + math.log(256)) / math.log(2), rtol=1e-5)


def test_bits_follow_the_change_of_volume() -> None:
    flow, x = load_flow("default"), photographs(3).float() / 256
    z, log_det = flow.encode(x)
    d = x[0].numel()
    log_p = -0.5 * (z.double() ** 2).sum(1) - 0.5 * d * math.log(2 * math.pi) + log_det
    expected = (-log_p / d + math.log(256)) / math.log(2)
    np.testing.assert_allclose(bits_per_dimension(flow, x), expected, rtol=1e-5)


def test_bits_fall_and_the_moving_average_follows() -> None:
    run = fitting(FitSettings(steps=40, batch=8, warmup=5, lr=5e-3))
    before = evaluated_bits(run.average, photographs(16, seed=1), 0.02)
    records = list(run.run())
    assert np.mean([r.bits for r in records[-5:]]) < np.mean([r.bits for r in records[:5]]) - 1
    assert evaluated_bits(run.average, photographs(16, seed=1), 0.02) < before - 0.5
    assert records[-1].skipped == 0 and run.step == 40


def test_a_fit_that_was_saved_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = FitSettings(steps=8, batch=4, warmup=2, judge_every=1)
    whole = fitting(settings)
    expected = list(whole.run())
    part, steps = fitting(settings), []
    for record in part.run():
        steps.append(record)
        if record.step == 3:
            break
    torch.save(part.state(), tmp_path / "s.pt")
    torch.manual_seed(99)  # nothing hangs on torch's own numbers
    again = fitting(settings)
    again.load(torch.load(tmp_path / "s.pt", weights_only=True))
    assert steps + list(again.run()) == expected
    for a, b in zip(whole.average.parameters(), again.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted() -> None:
    run = fitting(FitSettings(steps=3, batch=4))
    steps = run.run()
    next(steps)
    weights = [p.detach().clone() for p in run.flow.parameters()]
    images, run.images = run.images, torch.full((40, 3, 64, 64), float("nan"))
    record = next(steps)
    assert record.skipped == 1 and not math.isfinite(record.bits)
    assert all(torch.equal(a, b) for a, b in zip(weights, run.flow.parameters(), strict=True))
    run.images = images
    assert math.isfinite(next(steps).bits)


def test_a_batch_in_slices_has_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for size in (64, 3):
        monkeypatch.setattr("s2vc.pipeline.flow_fitting.fitting.CPU_SLICE", size)
        run = fitting(FitSettings(steps=1, batch=8))
        record = run.next()
        found.append((record.bits, record.grad_norm, [p.grad for p in run.weights]))
    (bits, norm, whole), (bits_of_slices, norm_of_slices, slices) = found
    assert (bits_of_slices, norm_of_slices) == pytest.approx((bits, norm), rel=1e-5)
    for a, b in zip(whole, slices, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_held_out_images_are_looked_at_now_and_then_and_at_the_end() -> None:
    run = fitting(FitSettings(steps=5, batch=4, judge_every=2))
    for record in run.run():
        if record.step in (2, 4, 5):
            assert record.held_out == evaluated_bits(run.average, photographs(10, seed=1), 0.02)
        else:
            assert math.isnan(record.held_out)


def test_subnets_in_bfloat16_fit_float32_weights_nearly_as_well() -> None:
    ends = []
    for precision in ("float32", "bfloat16"):
        run = fitting(FitSettings(steps=25, batch=8, warmup=5, lr=5e-3, precision=precision))
        ends.append(list(run.run())[-1].held_out)
        assert {p.dtype for p in run.weights} == {torch.float32}
    exact, half = ends
    assert exact != half and half == pytest.approx(exact, abs=0.05)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    settings = FitSettings(steps=110, warmup=10, lr=1.0)
    rates = [learning_rate(settings, n) for n in range(110)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[60] == pytest.approx(0.5) and rates[109] < 1e-3 and sorted(rates[10:], reverse=True) == rates[10:]


def test_what_is_written_is_a_flow_with_its_record(tmp_path: Path) -> None:
    run = fitting(FitSettings(steps=2, batch=4))
    list(run.run())
    save_flow(run.average, tmp_path / "f.safetensors", {"bits_clean": 4.5})
    loaded = load_flow(tmp_path / "f.safetensors")
    x = photographs(2).float() / 255
    z, _ = loaded.encode(x)
    torch.testing.assert_close(z, run.average.encode(x)[0])
    torch.testing.assert_close(loaded.decode(z), x, atol=1e-5, rtol=0)
    assert flow_record(tmp_path / "f.safetensors") == {"bits_clean": 4.5}
    assert flow_record(Path(__file__)) == {}

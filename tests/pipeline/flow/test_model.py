"""The flow as a whole: the published outputs, exactness, and any batch."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.flow import LATENTS, Architecture, Flow, load_flow
from pipeline.static_cues import motion_preserved

SEED = 20240


@pytest.fixture(scope="session")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "reference" / "official_outputs.npz"))


@pytest.fixture(scope="session")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the published format with the weights that the outputs were recorded with."""
    sys.path.insert(0, str(shared / "reference"))
    from fill import fill

    shapes = json.loads((shared / "reference" / "flow_keys.json").read_text())
    state = {k: torch.from_numpy(v) for k, v in fill({k: tuple(s) for k, s in shapes.items()}, SEED).items()}
    path = tmp_path_factory.mktemp("published") / "flow.pt"
    torch.save({"net": state}, path)
    return path


def recorded_input() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([SEED, 1]).random((3, 3, 64, 64), dtype=np.float32))


def test_latents_and_log_det_are_the_published_ones(recorded: dict[str, np.ndarray], published: Path) -> None:
    flow = load_flow(published)
    assert flow.architecture == Architecture(hidden=128, width=128)
    z, log_det = flow.encode(recorded_input())
    np.testing.assert_allclose(z, recorded["z"], atol=5e-6)
    np.testing.assert_allclose(log_det, recorded["log_det"], rtol=2e-6)


def test_motion_preserved_is_the_published_clip(recorded: dict[str, np.ndarray], published: Path) -> None:
    from fill import clip

    alpha = float(recorded["alpha"])
    v_p, std = motion_preserved(torch.from_numpy(clip(SEED)), load_flow(published), alpha)
    np.testing.assert_allclose(std, recorded["std"], atol=2e-6)
    assert float((std >= alpha).double().mean()) == pytest.approx(float(recorded["kept"]), abs=1e-4)
    # Recorded as float16: half a step of it, for values below 2, is 0.0005.
    np.testing.assert_allclose(v_p, recorded["s2vc"].astype(np.float32), atol=6e-4)


def test_bfloat16_subnets_stay_near_the_published_latents(recorded: dict[str, np.ndarray], published: Path) -> None:
    flow = load_flow(published, precision="bfloat16")
    assert flow.precision == "bfloat16"
    z, _ = flow.encode(recorded_input())
    assert z.dtype == torch.float32
    error = z - torch.from_numpy(recorded["z"])
    assert float(error.square().mean().sqrt()) < 0.01 * float(recorded["z"].std())


@given(
    hidden=st.integers(1, 6),
    width=st.integers(1, 6),
    depths=st.tuples(*[st.integers(1, 2)] * 3),
    batch=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=10, deadline=None)
def test_any_architecture_inverts_exactly_in_float64(
    hidden: int, width: int, depths: tuple[int, int, int], batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    flow = Flow(Architecture(hidden, width, *depths)).double()
    x = torch.rand(batch, 3, 64, 64, dtype=torch.float64)
    z, log_det = flow(x)
    assert z.shape == (batch, LATENTS)
    assert log_det.shape == (batch,)
    torch.testing.assert_close(flow.inverse(z), x, atol=1e-9, rtol=0)


def test_input_that_is_not_contiguous_gives_the_same_latents() -> None:
    flow = load_flow("default")
    x = torch.rand(4, 64, 64, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(flow.encode(x)[0], flow.encode(x.contiguous())[0], atol=1e-5, rtol=0)


def test_batch_size_changes_rounding_only() -> None:
    flow = load_flow("default")
    x = torch.rand(21, 3, 64, 64)
    together, _ = flow.encode(x)
    alone = torch.cat([flow.encode(x[i : i + 1])[0] for i in range(len(x))])
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=0)


def test_round_trip_on_real_frames(shared: Path) -> None:
    from pipeline.frames import pool_small
    from pipeline.video import decode_video

    taken: list[np.ndarray] = []
    clip = shared / "data" / "interaction" / "1_hug" / "set1_seq01_2_1.avi"
    decode_video(clip, 128, 171, lambda frames: taken.append(pool_small(frames)))
    x = torch.from_numpy(np.concatenate(taken)[::10]).permute(0, 3, 1, 2).float() / 255
    limits = {"float32": 5e-5, "bfloat16": 1e-3}
    for precision, limit in limits.items():
        flow = load_flow("default", precision=precision)
        error = flow.decode(flow.encode(x)[0]) - x
        assert float(error.square().mean().sqrt()) < limit


def test_gradients_flow_through_forward() -> None:
    flow = Flow(Architecture(2, 2, 1, 1, 1))
    z, log_det = flow(torch.rand(2, 3, 64, 64))
    (z.square().sum() / 2 - log_det.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 32, 32), (1, 1, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, 3, 64, 64\)"):
        load_flow("default").encode(torch.zeros(shape))


def test_latents_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="12288"):
        load_flow("default").decode(torch.zeros(2, 100))

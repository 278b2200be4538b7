"""The flow as a whole: the published outputs, exactness, and any batch."""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from s2vc.pipeline.flow import (
    LATENTS,
    Architecture,
    Flow,
    load_flow,
)
from s2vc.pipeline.flow.architecture import CENTRED, PRECISIONS, SMALL_FLOW
from s2vc.pipeline.flow.couplings import convolutional
from s2vc.pipeline.flow.model import CPU_SLICE, frames_at_once, new_flow
from s2vc.pipeline.static_cues import motion_preserved
from tests.support.rounding import MARGIN, perturbed, rms

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


architectures = st.builds(
    Architecture,
    hidden=st.integers(1, 6),
    width=st.integers(1, 6),
    high_blocks=st.integers(1, 2),
    low_blocks=st.integers(1, 2),
    deep_blocks=st.integers(1, 2),
)


def drawn_flow(architecture: Architecture, seed: int) -> Flow:
    """A flow whose couplings change what goes through them, as those of a fitted one do."""
    torch.manual_seed(seed)
    return Flow(architecture)


@given(architecture=architectures, batch=st.sampled_from([0, 1, 3]), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_any_architecture_inverts_exactly_in_float64(architecture: Architecture, batch: int, seed: int) -> None:
    flow = drawn_flow(architecture, seed).double()
    x = torch.rand(batch, 3, 64, 64, dtype=torch.float64)
    z, log_det = flow(x)
    assert z.shape == (batch, LATENTS)
    assert log_det.shape == (batch,)
    torch.testing.assert_close(flow.inverse(z), x, atol=1e-9, rtol=0)


@given(architecture=architectures, seed=st.integers(0, 1000))
@settings(max_examples=6, deadline=None)
def test_any_architecture_is_near_float64_in_float32_and_in_bfloat16(architecture: Architecture, seed: int) -> None:
    flow = drawn_flow(architecture, seed)
    # Neither contiguous nor in order: what a caller has cut out of something larger.
    x = torch.rand(4, 64, 65, 6)[:3, :, 1:, ::2].permute(0, 3, 1, 2)
    with torch.no_grad():
        exact, log_det = copy.deepcopy(flow).double()(x.double())
    for precision, limit, round_trip in (("float32", 1e-4, 1e-4), ("bfloat16", 0.1, 0.02)):
        same = copy.deepcopy(flow).for_inference("cpu", precision)
        z, told = same.encode(x)
        assert float((z - exact).abs().max()) < limit * float(exact.abs().max())
        assert float((told - log_det).abs().max()) < limit * LATENTS / 100
        assert float((same.decode(z) - x).abs().max()) < round_trip


@given(architecture=architectures, seed=st.integers(0, 1000))
@settings(max_examples=6, deadline=None)
def test_log_det_of_a_whole_flow_is_that_of_its_jacobian_and_of_its_inverse(
    architecture: Architecture, seed: int
) -> None:
    # The same class on images of 4x4, whose Jacobian has 48 rows.
    tiny = {"IMAGE_SHAPE": (3, 4, 4), "SQUEEZED_SHAPE": (12, 2, 2), "LATENTS": 48, "DEEP_LATENTS": 12}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in tiny.items():
            patch.setattr(f"s2vc.pipeline.flow.model.{name}", value)
        flow = drawn_flow(architecture, seed).double()
        x = torch.rand(3, 4, 4, dtype=torch.float64)
        z, log_det = flow(x[None])
        forward = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x)
        back = torch.autograd.functional.jacobian(lambda v: flow.inverse(v[None])[0], z[0])
    for jacobian, expected in ((forward, log_det[0]), (back, -log_det[0])):
        found = torch.linalg.slogdet(jacobian.reshape(48, 48)).logabsdet
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)  # rotations are stored in float32


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
    from s2vc.pipeline.cache.frames import pool_small
    from s2vc.pipeline.stages.video import decode_video

    taken: list[np.ndarray] = []
    clip = shared / "data" / "interaction" / "1_hug" / "set1_seq01_2_1.avi"
    decode_video(clip, 128, 171, lambda frames: taken.append(pool_small(frames)))
    x = torch.from_numpy(np.concatenate(taken)[::10]).permute(0, 3, 1, 2).float() / 255
    exact, z = load_flow("default"), load_flow("default").encode(x)[0]
    errors = {}
    for precision in PRECISIONS:
        flow = load_flow("default", precision=precision)
        assert flow.precision == precision
        found = flow.encode(x)[0]
        assert rms(flow.decode(found) - x) < (5e-5 if precision == "float32" else 1e-3)
        errors[precision] = rms(found - z), rms(flow.decode(z) - exact.decode(z))
    assert 0 < errors[CENTRED][0] < 0.8 * errors["bfloat16"][0], "what centring is for"
    drawn = perturbed(exact)
    allowed = rms(drawn.encode(x)[0] - z), rms(drawn.decode(z) - exact.decode(z))
    for precision in ("bfloat16", CENTRED):
        assert all(off <= MARGIN * limit for off, limit in zip(errors[precision], allowed, strict=True))


def test_a_centred_subnet_gives_what_it_gave() -> None:
    """In float64 nothing is rounded but the bias, and what that loses is added with the mean."""
    torch.manual_seed(0)
    subnet = convolutional(2, 6, hidden=5).double()
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    before = subnet(x)
    subnet.centre_on(before.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(subnet(x), before, atol=1e-12, rtol=0)
    left = functional.conv2d(
        torch.zeros(1, 5, 1, 1, dtype=torch.float64), subnet.last.weight, subnet.last.bias, padding=1
    )
    assert torch.equal(left, left.bfloat16().double()), "the bias is one that bfloat16 has"


def test_a_centred_flow_is_not_centred_again() -> None:
    with pytest.raises(ValueError, match="load it anew"):
        load_flow("default", precision=CENTRED).for_inference("cpu", CENTRED)


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


def test_float32_of_the_flow_is_not_rounded_to_tf32() -> None:
    """cuDNN's convolutions are by default; what it is told while the flow computes holds on any machine."""
    operations = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    flow, before, seen = load_flow("default"), [o.fp32_precision for o in operations], []
    for part in flow.low:
        inverse = part.inverse
        part.register_forward_hook(lambda *_: seen.append([o.fp32_precision for o in operations]))
        part.inverse = lambda y, inverse=inverse: (seen.append([o.fp32_precision for o in operations]), inverse(y))[1]
    assert "ieee" not in before
    flow.decode(flow.encode(torch.rand(1, 3, 64, 64))[0])
    assert len(seen) == 2 * len(flow.low) and seen == [["ieee", "ieee"]] * len(seen)
    assert [o.fp32_precision for o in operations] == before


def test_a_compiled_flow_is_made_and_run_without_tf32() -> None:
    """A compiler may ask when it makes the code, or leave it to the libraries that are called when it runs."""
    operations = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    seen: list[tuple[str, list[str]]] = []

    def note(when: str) -> None:
        seen.append((when, [o.fp32_precision for o in operations]))

    def compiler(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        note("made")
        return lambda *given: (note("run"), graph.forward(*given))[1]

    flow, x = Flow(Architecture(2, 2, 1, 1, 1)), torch.rand(1, 3, 64, 64)
    z, _ = torch.compile(flow, backend=compiler)(x)
    assert {when for when, _ in seen} == {"made", "run"}
    assert all(precision == ["ieee", "ieee"] for _, precision in seen)
    torch.testing.assert_close(z, flow(x)[0])
    torch.compiler.reset()


def test_a_gpu_takes_no_more_frames_than_kernels_can_count() -> None:
    """S3D's 128 clips of 32 frames at the published width were 2^31 values; 32-bit kernels end there."""
    largest_layer = frames_at_once(torch.device("cuda")) * Architecture().hidden * 64 * 64
    assert largest_layer <= 2**28
    assert frames_at_once(torch.device("cpu")) == CPU_SLICE


def test_inverses_are_computed_once_and_anew_for_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(3, LATENTS, generator=torch.Generator().manual_seed(0))
    other = new_flow(SMALL_FLOW, seed=1)
    expected, of_other = load_flow("untrained").for_fitting("cpu", "float32").decode(z), other.decode(z)
    flow = load_flow("untrained")
    with monkeypatch.context() as patched:
        patched.setattr(torch.linalg, "inv", None)
        assert torch.equal(flow.decode(z), expected)
        assert torch.equal(copy.deepcopy(flow).decode(z), expected)
    assert set(flow.state_dict()) == set(other.state_dict())
    flow.load_state_dict(other.state_dict())
    assert torch.equal(flow.decode(z), of_other) and not torch.equal(of_other, expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_autocast_around_the_flow_changes_nothing(precision: str) -> None:
    x = torch.rand(9, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    flow = load_flow("default", precision=precision)
    z, log_det = flow.encode(x)
    images = flow.decode(z)
    with torch.autocast("cpu", torch.bfloat16):
        same = load_flow("default", precision=precision)  # a centred flow computes something when it is loaded
        assert [torch.equal(a, b) for a, b in zip(same.encode(x), (z, log_det), strict=True)] == [True, True]
        assert torch.equal(same.decode(z), images)
    assert z.dtype == log_det.dtype == images.dtype == torch.float32


def test_fitting_in_bfloat16_keeps_its_own_autocast() -> None:
    """The subnets compute in bfloat16, and only they, whatever is on around them."""
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    flow = load_flow("default").for_fitting("cpu", "bfloat16")
    z, _ = flow(x)
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(flow(x)[0], z)
    exact = load_flow("default").for_fitting("cpu", "float32")(x)[0]
    assert z.dtype == torch.float32 and not torch.equal(z, exact)

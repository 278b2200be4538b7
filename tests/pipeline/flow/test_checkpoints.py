"""Flows on disk: what loads is what was saved, and what is no flow is refused in one line."""

import os
import pickle
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from s2vc.pipeline.flow import (
    Architecture,
    Flow,
    FlowFileError,
    choose_dtype,
    choose_precision,
    fingerprint,
    load_flow,
    save_flow,
)
from s2vc.pipeline.flow.checkpoints import BUILT_IN, flow_record
from s2vc.pipeline.storage.files import sha256
from s2vc.training.precision import choose_training_precision


@pytest.fixture
def small() -> Flow:
    torch.manual_seed(1)
    return Flow(Architecture(3, 5, 2, 1, 3))


def published_state(flow: Flow) -> dict[str, torch.Tensor]:
    """The flow's weights under the published keys, written out from the published order of nodes."""
    a = flow.architecture
    first_low = 2 + 2 * a.high_blocks
    first = {"high": 1, "low": first_low, "deep": first_low + 3 * a.low_blocks + 2}
    state = {}
    for key, value in flow.state_dict().items():
        group, number, rest = key.split(".", 2)
        state[f"module_list.{first[group] + int(number)}.{rest}"] = value
    return state


def test_a_saved_flow_loads_as_it_was(small: Flow, tmp_path: Path) -> None:
    save_flow(small, tmp_path / "flow.safetensors")
    loaded = load_flow(tmp_path / "flow.safetensors")
    assert loaded.architecture == small.architecture
    assert fingerprint(loaded) == fingerprint(small)
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded.encode(x)[0], small(x)[0], atol=1e-5, rtol=0)


def test_saving_gives_the_same_bytes_each_time(small: Flow, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_flow(small, tmp_path / name)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_weights_that_float16_holds_exactly_take_half_the_space(small: Flow, tmp_path: Path) -> None:
    save_flow(small, tmp_path / "full")
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.copy_(parameter.half().float())
    save_flow(small, tmp_path / "half")
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "full").stat().st_size
    assert fingerprint(load_flow(tmp_path / "half")) == fingerprint(small)


def test_a_published_checkpoint_loads_as_it_is(small: Flow, tmp_path: Path) -> None:
    torch.save({"net": published_state(small)}, tmp_path / "flow.pt")
    loaded = load_flow(tmp_path / "flow.pt")
    assert loaded.architecture == small.architecture
    assert fingerprint(loaded) == fingerprint(small)


def test_the_default_is_the_shared_flow_in_float16(shared: Path) -> None:
    default, original = load_flow("default"), load_flow(shared / "weights" / "advflow-small.pt")
    assert default.architecture == original.architecture
    for key, value in original.state_dict().items():
        torch.testing.assert_close(default.state_dict()[key], value, rtol=2**-10, atol=1e-7)


def test_fingerprint_tells_flows_apart(small: Flow) -> None:
    before = fingerprint(small)
    with torch.no_grad():
        next(small.parameters()).view(-1)[0] += 1e-6
    assert fingerprint(small) != before


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"net": Evil()}))
    torch.save({"net": Evil()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(FlowFileError):
            load_flow(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def broken(kind: str, flow: Flow, path: Path) -> None:
    state = published_state(flow)
    if kind == "nothing":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("these are no weights")
    elif kind == "cut off":
        torch.save({"net": state}, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "another model":
        torch.save({"net": {"layer.weight": torch.zeros(3)}}, path)
    elif kind == "no net":
        torch.save({"model": state}, path)
    elif kind == "a layer missing":
        state.pop("module_list.1.s1.conv2.bias")
        torch.save({"net": state}, path)
    elif kind == "not finite":
        state["module_list.1.s1.conv2.bias"][0] = float("nan")
        torch.save({"net": state}, path)
    elif kind == "safetensors of something else":
        save_file({"x": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    "kind",
    [
        "nothing",
        "text",
        "cut off",
        "another model",
        "no net",
        "a layer missing",
        "not finite",
        "safetensors of something else",
    ],
)
def test_what_is_no_flow_is_refused_in_one_line(kind: str, small: Flow, tmp_path: Path) -> None:
    path = tmp_path / "flow.pt"
    broken(kind, small, path)
    with pytest.raises(FlowFileError) as error:
        load_flow(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_flow_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FlowFileError, match="no flow at"):
        load_flow(tmp_path / "nothing.pt")


@pytest.mark.parametrize(("major", "fast"), [(7, False), (8, True), (9, True)], ids=["V100 and T4", "A100", "H100"])
def test_auto_precision_on_a_gpu_goes_by_its_compute_capability(
    major: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PyTorch reads of a GPU is set here; what it makes of it, and what we do, is as where there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major, minor=5))
    assert choose_precision("auto", "cuda") == ("bfloat16-centred" if fast else "float32")
    assert choose_dtype("auto", "cuda") == ("bfloat16" if fast else "float32")
    assert choose_precision("bfloat16", "cuda") == "bfloat16", "whoever asks for it gets it"


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "encodes_in", "trains_in"),
    [
        (False, False, "float32", "float32"),
        (False, True, "bfloat16-centred", "float32"),
        (True, True, "bfloat16-centred", "bfloat16"),
    ],
    ids=["neither", "AVX-512 BF16", "AMX"],
)
def test_auto_precision_on_a_cpu_goes_by_its_instructions(
    amx: bool, avx512_bf16: bool, encodes_in: str, trains_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PyTorch reads of a processor is set here. Gradients in bfloat16 take AMX."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    assert choose_precision("auto", "cpu") == encodes_in
    assert choose_dtype("auto", "cpu") == choose_training_precision(torch.device("cpu")) == trains_in
    assert choose_precision("float32", "cpu") == "float32", "whoever asks for it gets it"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo is Linux's")
def test_auto_precision_on_this_cpu_is_what_its_flags_say() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    fast = "amx_bf16" in flags or "avx512_bf16" in flags
    assert choose_precision("auto", "cpu") == ("bfloat16-centred" if fast else "float32")


@pytest.mark.parametrize(
    "forged", ['{"high_blocks": 10000000}', '{"hidden": 0}', '{"width": 1.5}', "[]", "{", '{"x": 1}']
)
def test_a_forged_architecture_is_refused_before_anything_is_built(forged: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "flow", metadata={"s2vc_flow": forged})
    with pytest.raises(FlowFileError, match="not one of a flow"):
        load_flow(tmp_path / "flow")


def test_the_untrained_control_is_the_identity_up_to_a_rotation_and_the_same_every_time() -> None:
    flow = load_flow("untrained")
    assert flow.architecture == load_flow("default").architecture
    assert fingerprint(flow) == fingerprint(load_flow("untrained"))
    x = torch.rand(3, 3, 64, 64)
    z, log_det = flow.encode(x)
    torch.testing.assert_close(z.norm(dim=1), x.flatten(1).norm(dim=1), atol=1e-3, rtol=0)
    assert float(log_det.abs().max()) == 0
    torch.testing.assert_close(flow.decode(z), x, atol=1e-5, rtol=0)


def test_every_built_in_flow_inverts_and_is_another() -> None:
    x = torch.rand(3, 3, 64, 64)
    flows = [load_flow(name) for name in BUILT_IN]
    for flow in flows:
        torch.testing.assert_close(flow.decode(flow.encode(x)[0]), x, atol=5e-5, rtol=0)
    assert len({fingerprint(flow) for flow in flows}) == len(BUILT_IN) == 2
    assert flow_record("steady")["noise"] == 0.04

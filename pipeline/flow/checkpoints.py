"""This module reads and writes flows: our safetensors files, and the published checkpoints as they are.

Our files hold the architecture in their metadata. No file that is read here is executed: safetensors files hold tensors
only, and published checkpoints are opened with `weights_only`.
"""

import dataclasses
import hashlib
import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from s2vc.pipeline.flow.architecture import CENTRED, SMALL_FLOW, Architecture, FlowFileError
from s2vc.pipeline.flow.model import Flow, new_flow

BUILT_IN = ("default", "steady")
"""These flows come with the package. steady is default, fitted further with twice the published noise, so that a codec
changes less which latents are kept."""
UNTRAINED = "untrained"
NAMES = (*BUILT_IN, UNTRAINED)
METADATA_KEY, RECORD_KEY = "s2vc_flow", "s2vc_fit"


def load_flow(name_or_path: str | Path, device: str | torch.device = "cpu", precision: str = "float32") -> Flow:
    """Return a frozen flow that is ready to encode and decode.

    name_or_path: one of BUILT_IN; "untrained" for the control, a flow of their architecture whose couplings are the
    identity, so that latents are pixels, rotated and permuted, at their own scale; a safetensors file that `save_flow`
    wrote; or a checkpoint of the published code, `{"net": state_dict}`, whose widths are read off its shapes.
    precision: what the subnets compute in, "float32", "bfloat16" or "bfloat16-centred" (see `Flow.for_inference`), or
    "auto" (see `choose_precision`).
    Raises FlowFileError if the file is missing, damaged, or not a flow.
    """
    flow = new_flow(SMALL_FLOW, seed=0) if str(name_or_path) == UNTRAINED else _read_flow(name_or_path)
    return flow.for_inference(device, choose_precision(precision, device))


def _path(name_or_path: str | Path) -> Path:
    """Return the path of a built-in flow, or the path itself."""
    name = str(name_or_path)
    return Path(__file__).parent / "weights" / f"{name}.safetensors" if name in BUILT_IN else Path(name_or_path)


def _read_flow(name_or_path: str | Path) -> Flow:
    path = _path(name_or_path)
    if not path.is_file():
        raise FlowFileError(f"there is no flow at {path} (a file, or one of {', '.join(NAMES)})")
    architecture, state = _read_safetensors(path) if _is_safetensors(path) else _read_published(path)
    # A file of a few bytes can claim a flow of 100 GB.
    if architecture.least_weights > sum(v.numel() for v in state.values()):
        raise FlowFileError(f"{path} is no 64x64 flow: it has fewer weights than the architecture it names")
    flow = Flow(architecture)
    _fill(flow, state, path)
    return flow


def save_flow(flow: Flow, path: str | Path, record: dict[str, Any] | None = None) -> None:
    """Write a float32 flow as safetensors; a tensor is stored as float16, half the size, where that loses nothing.

    record: figures of its fit, for `flow_record`; they are not part of the flow or of its fingerprint. Raises
    ValueError if the flow is not in float32.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in flow.state_dict().items()}
    if any(v.dtype != torch.float32 for v in state.values()):
        raise ValueError("a flow is saved in float32: load it with that precision first")
    state = {k: v.half() if torch.equal(v.half().float(), v) else v for k, v in state.items()}
    # A flow without a record has one metadata entry, so that its bytes can be compared: the order of several would
    # change from run to run.
    metadata = {METADATA_KEY: json.dumps(dataclasses.asdict(flow.architecture))}
    content = save(state, metadata | ({RECORD_KEY: json.dumps(record)} if record else {}))
    # The file is written here, since safetensors reports a full disk by an error of its own, without an errno.
    Path(path).write_bytes(content)


def flow_record(name_or_path: str | Path) -> dict[str, Any]:
    """Return the record of a flow's fit that `save_flow` was given, or an empty dict if there is none."""
    path = _path(name_or_path)
    if not _is_safetensors(path):
        return {}
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(RECORD_KEY, "{}")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def fingerprint(flow: Flow) -> str:
    """Return the SHA-256, in hex, of architecture and float32 weights; it identifies a flow, whatever file held it."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(flow.architecture)).encode())
    for key, value in sorted(flow.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def choose_precision(precision: str, device: str | torch.device = "cpu") -> str:
    """Return the precision to encode in: "auto" becomes bfloat16-centred where bfloat16 is fast, else float32."""
    if precision != "auto":
        return precision
    return CENTRED if multiplies_bfloat16(device) else "float32"


def choose_dtype(dtype: str, device: str | torch.device = "cpu") -> str:
    """Return the dtype to fit a flow in: "auto" becomes bfloat16 where it trains, else float32."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if trains_in_bfloat16(device) else "float32"


def multiplies_bfloat16(device: str | torch.device) -> bool:
    """Say whether a device of this machine multiplies bfloat16 in hardware, where it is fast.

    CPUs with AMX or AVX-512 BF16 do, and NVIDIA's GPUs of compute capability 8.0 and more, so no V100 (7.0) and no T4
    (7.5), on which PyTorch emulates it.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    if device.type != "cuda":
        return True
    if not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def trains_in_bfloat16(device: str | torch.device) -> bool:
    """Say whether gradients can be computed in bfloat16 as well; on CPUs that takes AMX.

    With AVX-512 BF16 alone, torch 2.13's gradients of 3D convolutions differed from run to run, and losses became NaN.
    """
    device = torch.device(device)
    return multiplies_bfloat16(device) and (device.type != "cpu" or bool(torch.cpu._is_amx_tile_supported()))


def _fill(flow: Flow, state: dict[str, Tensor], path: Path) -> None:
    expected = flow.state_dict()
    wrong = [k for k in expected if k not in state or state[k].shape != expected[k].shape]
    wrong += [k for k in state if k not in expected]
    if wrong:
        raise FlowFileError(f"{path} is no 64x64 flow: {len(wrong)} tensors do not fit, first {wrong[0]}")
    infinite = [k for k, v in state.items() if not v.isfinite().all()]
    if infinite:
        raise FlowFileError(f"{path} holds numbers that are not finite, first in {infinite[0]}")
    flow.load_state_dict({k: v.float() for k, v in state.items()})


def _is_safetensors(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def _read_safetensors(path: Path) -> tuple[Architecture, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in list(file.keys())}
    try:
        return Architecture(**json.loads(metadata[METADATA_KEY])), state
    except (KeyError, TypeError, ValueError) as error:
        raise FlowFileError(f"{path} is a safetensors file, but not one of a flow") from error


def _read_published(path: Path) -> tuple[Architecture, dict[str, Tensor]]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FlowFileError(f"{path} is no checkpoint of plain tensors; anything else is not opened") from error
    except Exception as error:  # foreign bytes can make a reader of archives raise any error
        raise FlowFileError(f"{path} is damaged, or neither a safetensors file nor a checkpoint") from error
    state = loaded.get("net") if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise FlowFileError(f"{path} is a checkpoint, but not of a flow (no 'net' with tensors in it)")
    return _from_published(state, path)


def _from_published(state: dict[str, Tensor], path: Path) -> tuple[Architecture, dict[str, Tensor]]:
    """Return the architecture and the weights, under our keys, of a published checkpoint.

    Depths are counted from the couplings of each kind, widths are read off shapes, and keys are mapped by position.
    Published keys are `module_list.N.…`, where N counts every node of the graph: the input, `high` pairs of coupling
    and permutation, the space-to-channel step, `low` triples, flatten, split, and `deep` pairs.
    """
    keys = [re.fullmatch(r"module_list\.(\d+)\.(.+)", key) for key in state]
    if not all(keys):
        raise FlowFileError(f"{path} is a checkpoint, but its keys are not those of the published flow")
    nodes = {(int(m[1]), m[2]): state[m[0]] for m in keys if m}

    def couplings(kind: str, inputs: set[int]) -> list[Tensor]:
        found = [v for (_, name), v in nodes.items() if name == f"s1.{kind}.weight" and v.dim() >= 2]
        return [v for v in found if v.shape[1] in inputs]

    high, low, deep = couplings("conv1", {1}), couplings("conv1", {6}), couplings("fc1", {1536})
    if not (high and low and deep):
        raise FlowFileError(f"{path} is a checkpoint, but not one of the 64x64 flow")
    try:
        architecture = Architecture(len(high[0]), len(deep[0]), len(high), len(low), len(deep))
    except ValueError as error:
        raise FlowFileError(f"{path} is a checkpoint of no flow: {error}") from error
    first_low = 2 + 2 * len(high)
    first_deep = first_low + 3 * len(low) + 2

    def ours(node: int, name: str) -> str:
        if node < first_low:
            return f"high.{node - 1}.{name}"
        if node < first_deep:
            return f"low.{node - first_low}.{name}"
        return f"deep.{node - first_deep}.{name}"

    return architecture, {ours(*key): value for key, value in nodes.items()}

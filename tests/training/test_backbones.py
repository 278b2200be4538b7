"""Backbones: key for key the published ones, with the published outputs; checkpoints of every origin are read."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from s2vc.manifests.errors import UserError
from s2vc.training.backbones import build_backbone
from s2vc.training.backbones.checkpoints import find_backbone, published_format, read_backbone
from s2vc.training.moco import MoCo

SEED = 20240


@pytest.mark.parametrize("name", ["r3d18", "s3d"])
def test_keys_shapes_and_features_are_the_published_ones(name: str, shared: Path) -> None:
    sys.path.insert(0, str(shared / "reference"))
    from fill import fill

    shapes = json.loads((shared / "reference" / "backbone_keys.json").read_text())[name]
    backbone = build_backbone(name)
    assert {k: list(v.shape) for k, v in backbone.state_dict().items()} == shapes
    assert list(backbone.state_dict()) == list(shapes)
    values = fill({k: tuple(s) for k, s in shapes.items()}, SEED)
    backbone.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in values.items()})
    x = np.random.default_rng([SEED, 3]).standard_normal((2, 3, 16, 64, 64), dtype=np.float32)
    with torch.no_grad():
        features = backbone.eval()(torch.from_numpy(x))
    recorded = np.load(shared / "reference" / "official_outputs.npz")[name]
    np.testing.assert_allclose(features, recorded, atol=2e-5)


@pytest.fixture
def published_r2d3d18(shared: Path) -> nn.Module:
    """R2D3D-18 with the filled weights of DPC's checkpoint, key for key, in evaluation mode."""
    sys.path.insert(0, str(shared / "reference"))
    from fill import fill

    shapes = json.loads((shared / "reference" / "dpc_keys.json").read_text())
    filled = fill({k: tuple(s) for k, s in shapes.items()}, SEED)
    values = {k.removeprefix("backbone."): torch.from_numpy(v) for k, v in filled.items() if k.startswith("backbone.")}
    backbone = build_backbone("r2d3d18")
    assert list(backbone.state_dict()) == list(values)
    backbone.load_state_dict(values)
    return backbone.eval()


@pytest.fixture
def blocks() -> torch.Tensor:
    """Two clips of eight blocks: (2, 8, 3, 5, 64, 64)."""
    draws = np.random.default_rng([SEED, 4]).standard_normal((2, 8, 3, 5, 64, 64), dtype=np.float32)
    return torch.from_numpy(draws)


def test_r2d3d18_is_the_published_one_with_a_batch_s_own_statistics(
    published_r2d3d18: nn.Module, blocks: torch.Tensor, shared: Path
) -> None:
    recorded = np.load(shared / "reference" / "dpc_outputs.npz")["r2d3d18"]
    assert recorded.min() < 0, "before the last ReLU"
    with torch.no_grad():
        # In float64, the same on every processor: what is left is the rounding of the recorded float32 numbers.
        np.testing.assert_allclose(published_r2d3d18.double()(blocks.flatten(0, 1).double()), recorded, atol=1e-4)
        np.testing.assert_allclose(published_r2d3d18.float()(blocks.flatten(0, 1)), recorded, atol=2e-3)


def test_r2d3d18_sees_a_clip_block_by_block(published_r2d3d18: nn.Module, blocks: torch.Tensor) -> None:
    blocks = blocks[:, :3, :, :, :32, :32].double()
    with torch.no_grad():
        apart = published_r2d3d18.double()(blocks.flatten(0, 1)).unflatten(0, (2, 3))  # 2 x 3 x 256 x 2 x 1 x 1
        clip = torch.cat([blocks[:, i] for i in range(3)], dim=2)
        together = published_r2d3d18(clip)
        whole = published_r2d3d18(clip[:, :, :14])
    np.testing.assert_allclose(together, torch.cat([apart[:, i] for i in range(3)], dim=2), atol=1e-9)
    assert whole.shape == (2, 256, 4, 1, 1), "a clip that is not of whole blocks is seen at once"


@pytest.mark.parametrize(
    ("name", "shape"), [("r3d18", (1, 512, 1, 4, 4)), ("s3d", (1, 1024, 2, 4, 4)), ("r2d3d18", (1, 256, 4, 4, 4))]
)
def test_features_have_the_promised_shape(name: str, shape: tuple[int, ...]) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 16, 112, 112))
    assert features.shape[:3] == shape[:3] if name == "s3d" else features.shape == shape
    assert backbone.feature_size == shape[1]


def test_s3d_starts_from_the_published_deviation() -> None:
    torch.manual_seed(0)
    weights = [m.weight for m in build_backbone("s3d").modules() if isinstance(m, nn.Conv3d)]
    assert len(weights) > 70
    for weight in weights:
        # The deviation of n draws is off by 1 / sqrt(2 n) of itself: five times that.
        assert abs(float(weight.detach().std()) / 0.01 - 1) < 5 / (2 * weight.numel()) ** 0.5


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="r3d18, s3d"):
        build_backbone("c3d")


def forms(backbone: nn.Module) -> dict[str, dict[str, Any]]:
    """The ways in which a backbone is found in the wild."""
    state, fc = backbone.state_dict(), torch.zeros(128, 512)
    hara = {f"module.{k}": v for k, v in state.items()} | {"module.fc.weight": torch.zeros(400, 512)}
    return {
        "plain": state,
        "published": {"epoch": 3, "state_dict": {f"encoder_q.0.{k}": v for k, v in state.items()}},
        "parallel": {"state_dict": {f"module.encoder_q.0.{k}": v for k, v in state.items()}},
        "probe": {"state_dict": {f"base_q.{k}": v for k, v in state.items()}},
        "hara": {"arch": "resnet-18", "state_dict": hara},
        "old": {k: v for k, v in state.items() if "num_batches" not in k},
        "moco": {"state_dict": MoCo(backbone, queue=4).state_dict()},
        "export": published_format(state),
        "query": {"state_dict": {f"module.encoder_q.{k}": v for k, v in (state | {"fc.0.weight": fc}).items()}},
        "inside": {"state_dict": {f"encoder_q.module.backbone.{k}": v for k, v in state.items()}},
    }


@pytest.fixture(scope="module")
def r3d18() -> nn.Module:
    torch.manual_seed(1)
    return build_backbone("r3d18")


@pytest.mark.parametrize(
    "form", ["plain", "published", "parallel", "probe", "hara", "old", "moco", "export", "query", "inside"]
)
def test_a_backbone_is_read_from_every_form_of_checkpoint(form: str, r3d18: nn.Module, tmp_path: Path) -> None:
    torch.save(forms(r3d18)[form], tmp_path / "file.pt")
    state = read_backbone(tmp_path / "file.pt", "r3d18")
    assert list(state) == list(r3d18.state_dict())
    assert all(torch.equal(state[k], v) for k, v in r3d18.state_dict().items())


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone.", "encoder_q.0."])
def test_r2d3d18_is_found_in_dpc_s_checkpoints_and_in_others(prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    state = build_backbone("r2d3d18").state_dict()
    others = {prefix.replace("backbone", "agg") + "cell_list.0.reset_gate.bias": torch.zeros(256)}
    torch.save({"epoch": 1, "state_dict": {prefix + k: v for k, v in state.items()} | others}, tmp_path / "file.pt")
    name, found = find_backbone(tmp_path / "file.pt")
    assert name == "r2d3d18" and list(found) == list(state)
    assert all(torch.equal(found[k], v) for k, v in state.items())
    with pytest.raises(UserError, match="holds weights of r2d3d18, not of r3d18"):
        read_backbone(tmp_path / "file.pt", "r3d18")


def test_another_backbone_is_refused_by_its_name(r3d18: nn.Module, tmp_path: Path) -> None:
    torch.save(r3d18.state_dict(), tmp_path / "file.pt")
    with pytest.raises(UserError, match="holds weights of r3d18, not of s3d"):
        read_backbone(tmp_path / "file.pt", "s3d")


class Sly:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Sly()}, "file.pt")
    with pytest.raises(UserError, match="no checkpoint of plain tensors"):
        read_backbone(Path("file.pt"), "r3d18")
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_damaged_checkpoints_are_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_backbone(tmp_path / "file.pt", "s3d")
    assert len(str(caught.value).splitlines()) == 1


def test_weights_that_are_not_finite_are_refused(r3d18: nn.Module, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in r3d18.state_dict().items()}
    state["bn1.weight"][3] = float("nan")
    torch.save(state, tmp_path / "file.pt")
    with pytest.raises(UserError, match=r"not finite, first in bn1\.weight"):
        read_backbone(tmp_path / "file.pt", "r3d18")


@pytest.fixture(scope="module")
def padded() -> nn.Module:
    """R3D-18 with shortcuts without weights, as Hara's first checkpoints have it."""
    torch.manual_seed(3)
    return build_backbone("r3d18a").eval()


def test_a_padded_shortcut_takes_every_other_value_and_zeros(padded: nn.Module) -> None:
    x = torch.randn(2, 64, 5, 6, 7)
    found = padded.layer2[0].downsample(x)  # type: ignore[index, union-attr]
    picked = nn.functional.avg_pool3d(x, kernel_size=1, stride=2)
    assert torch.equal(found, torch.cat([picked, torch.zeros_like(picked)], dim=1))
    with torch.no_grad():
        assert padded(torch.zeros(1, 3, 16, 64, 64)).shape == (1, 512, 1, 2, 2)


def test_the_kind_of_shortcut_is_told_by_the_keys(padded: nn.Module, r3d18: nn.Module, tmp_path: Path) -> None:
    hara = {f"module.{k}": v for k, v in padded.state_dict().items()} | {"module.fc.weight": torch.zeros(400, 512)}
    assert not any("downsample" in key for key in hara)
    torch.save({"arch": "resnet-18", "state_dict": hara}, tmp_path / "a.pt")
    torch.save(r3d18.state_dict(), tmp_path / "b.pt")
    assert find_backbone(tmp_path / "a.pt")[0] == "r3d18a" and find_backbone(tmp_path / "b.pt")[0] == "r3d18"
    with pytest.raises(UserError, match="holds weights of r3d18, not of r3d18a"):
        read_backbone(tmp_path / "b.pt", "r3d18a")


def test_what_does_not_fit_is_named(r3d18: nn.Module, tmp_path: Path) -> None:
    state = {f"encoder_q.{k}": v for k, v in r3d18.state_dict().items()}
    for key in ("layer3.1.bn2.bias", "layer4.0.conv1.weight"):
        del state[f"encoder_q.{key}"]
    wide = state | {"encoder_q.conv1.weight": torch.zeros(64, 2, 7, 7, 7)}
    torch.save(state, tmp_path / "cut.pt")
    torch.save(wide, tmp_path / "wide.pt")
    deeper = r3d18.state_dict() | {"layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3, 3)}
    torch.save(deeper, tmp_path / "deeper.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    lacks = "under 'encoder_q.' it lacks layer3.1.bn2.bias, layer4.0.conv1.weight"
    with pytest.raises(UserError, match=f"holds no r3d18: {lacks}$"):
        read_backbone(tmp_path / "cut.pt", "r3d18")
    with pytest.raises(UserError, match=f"nearest is r3d18: {lacks}, has other shapes of conv1.weight$"):
        find_backbone(tmp_path / "wide.pt")
    with pytest.raises(UserError, match=r"nearest is r3d18: it has besides layer1\.2\.conv1\.weight$"):  # a ResNet-34
        find_backbone(tmp_path / "deeper.pt")
    with pytest.raises(
        UserError,
        match=r"holds none of r3d18, s3d, .*, slow_r50; its tensors are weight; a backbone's may begin with 'enc",
    ):
        find_backbone(tmp_path / "other.pt")
    torch.save({f"model.{k}": v for k, v in r3d18.state_dict().items()}, tmp_path / "lightning.pt")
    for read in (find_backbone, lambda path: read_backbone(path, "s3d")):
        with pytest.raises(
            UserError, match=r"its tensors are model\.conv1\.weight, model\.bn1\.weight, .* and \d+ more"
        ):
            read(tmp_path / "lightning.pt")

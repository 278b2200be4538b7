"""The networks that others publish weights for: their keys, counts and features, computed here from a state dict alone,
layer by layer, by the published tables; and that every method and task takes them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from torch import Tensor, nn
from torch.nn import functional

from s2vc.training.backbones import BACKBONES, build_backbone
from s2vc.training.backbones.checkpoints import find_backbone
from s2vc.training.clip_shapes import CLIP_SHAPES
from s2vc.training.settings import merge_settings

State = dict[str, Tensor]

CLASSES = 400
PARAMETERS = {"r2plus1d18": 31_505_325, "r3d18tv": 33_371_472, "slow_r50": 32_454_096}
"""As torchvision's documentation (`num_params`) and pytorchvideo's model zoo (32.45 M) give them, with classifiers for
the 400 classes of Kinetics."""

HEADS = {"r2plus1d18": "fc.", "r3d18tv": "fc.", "r3d50": "fc.", "slow_r50": "blocks.5.proj."}
ENVELOPES = {
    "r2plus1d18": lambda state: state,
    "r3d18tv": lambda state: state,
    "r3d50": lambda state: {"arch": "resnet50", "state_dict": {f"module.{k}": v for k, v in state.items()}},
    "slow_r50": lambda state: {"model_state": state},
}
"""How torchvision, Hara and pytorchvideo wrap their weights in a file."""

Shape = tuple[int, ...]


def conv(shapes: dict[str, Shape], name: str, outputs: int, inputs: int, *kernel: int) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs, *kernel)


def norm(shapes: dict[str, Shape], name: str, width: int) -> None:
    shapes |= {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def torchvision_shapes(factorised: bool) -> dict[str, Shape]:
    """Keys and shapes of r2plus1d_18 (the widths between are those of its printed modules), or of r3d_18."""
    shapes: dict[str, Shape] = {}
    conv(shapes, "stem.0", *((45, 3, 1, 7, 7) if factorised else (64, 3, 3, 7, 7)))
    norm(shapes, "stem.1", 45 if factorised else 64)
    if factorised:
        conv(shapes, "stem.3", 64, 45, 3, 1, 1)
        norm(shapes, "stem.4", 64)
    between = {"1.0": 144, "1.1": 144, "2.0": 230, "2.1": 288, "3.0": 460, "3.1": 576, "4.0": 921, "4.1": 1152}
    for place, middle in between.items():
        stage, block = map(int, place.split("."))
        width = 32 * 2**stage
        before = width // 2 if block == 0 and stage > 1 else width
        for number, inputs in ((1, before), (2, width)):
            name = f"layer{place}.conv{number}"
            if factorised:
                conv(shapes, f"{name}.0.0", middle, inputs, 1, 3, 3)
                norm(shapes, f"{name}.0.1", middle)
                conv(shapes, f"{name}.0.3", width, middle, 3, 1, 1)
            else:
                conv(shapes, f"{name}.0", width, inputs, 3, 3, 3)
            norm(shapes, f"{name}.1", width)
        if before != width:
            conv(shapes, f"layer{place}.downsample.0", width, before, 1, 1, 1)
            norm(shapes, f"layer{place}.downsample.1", width)
    return shapes


def bottleneck_shapes(slow: bool) -> dict[str, Shape]:
    """Keys and shapes of slow_r50, or of Hara's r3d50: 3, 4, 6 and 3 bottlenecks of width 64 to 512."""
    shapes: dict[str, Shape] = {}
    conv(shapes, "blocks.0.conv" if slow else "conv1", 64, 3, 1 if slow else 7, 7, 7)
    norm(shapes, "blocks.0.norm" if slow else "bn1", 64)
    inputs = 64
    for stage, (count, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), 1):
        for block in range(count):
            name = f"blocks.{stage}.res_blocks.{block}" if slow else f"layer{stage}.{block}"
            over_time = (3 if stage > 2 else 1) if slow else 1
            kernels = [(over_time, 1, 1), (1 if slow else 3, 3, 3), (1, 1, 1)]
            sizes = [(width, inputs), (width, width), (4 * width, width)]
            for letter, number, size, kernel in zip("abc", "123", sizes, kernels, strict=True):
                conv(shapes, f"{name}.branch2.conv_{letter}" if slow else f"{name}.conv{number}", *size, *kernel)
                norm(shapes, f"{name}.branch2.norm_{letter}" if slow else f"{name}.bn{number}", size[0])
            if block == 0:
                conv(shapes, f"{name}.branch1_conv" if slow else f"{name}.downsample.0", 4 * width, inputs, 1, 1, 1)
                norm(shapes, f"{name}.branch1_norm" if slow else f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    return shapes


SHAPES = {
    "r2plus1d18": torchvision_shapes(True),
    "r3d18tv": torchvision_shapes(False),
    "r3d50": bottleneck_shapes(False),
    "slow_r50": bottleneck_shapes(True),
}


def draw_state(name: str) -> State:
    """Weights in the published keys and shapes, with which values neither vanish nor grow."""
    generator = torch.Generator().manual_seed(4)
    state = {}
    for key, shape in SHAPES[name].items():
        values = torch.rand(shape, generator=generator)
        if len(shape) > 1:
            state[key] = (values - 0.5) * (24 / values[0].numel()) ** 0.5
        else:
            state[key] = values - 0.5 if key.endswith(("bias", "mean")) else values + 0.5
    return state


class Reference:
    """The forward passes, from a state dict and functions alone."""

    def __init__(self, state: State):
        self.state = state

    def norm(self, x: Tensor, name: str) -> Tensor:
        parts = [self.state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts)

    def conv(self, x: Tensor, name: str, *strides: int) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return functional.conv3d(x, weight, None, strides or 1, [size // 2 for size in weight.shape[2:]])

    def torchvision(self, x: Tensor, factorised: bool) -> Tensor:
        x = self.norm(self.conv(x, "stem.0", 1, 2, 2), "stem.1").relu()
        if factorised:
            x = self.norm(self.conv(x, "stem.3"), "stem.4").relu()
        for stage in range(1, 5):
            for block in range(2):
                name, stride, around = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1, x
                for number, step in (("conv1", stride), ("conv2", 1)):
                    if factorised:
                        x = self.norm(self.conv(x, f"{name}.{number}.0.0", 1, step, step), f"{name}.{number}.0.1")
                        x = self.conv(x.relu(), f"{name}.{number}.0.3", step, 1, 1)
                    else:
                        x = self.conv(x, f"{name}.{number}.0", step, step, step)
                    x = self.norm(x, f"{name}.{number}.1")
                    x = x.relu() if number == "conv1" else x
                if stride == 2:
                    around = self.norm(self.conv(around, f"{name}.downsample.0", 2, 2, 2), f"{name}.downsample.1")
                x = (x + around).relu()
        return x

    def r3d50(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x, "conv1", 1, 2, 2), "bn1").relu()
        x = functional.max_pool3d(x, 3, 2, 1)
        for stage, count in enumerate((3, 4, 6, 3), 1):
            for block in range(count):
                name, stride, around = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1, x
                x = self.norm(self.conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
                x = self.norm(self.conv(x, f"{name}.conv2", stride, stride, stride), f"{name}.bn2").relu()
                x = self.norm(self.conv(x, f"{name}.conv3"), f"{name}.bn3")
                if block == 0:
                    around = self.conv(around, f"{name}.downsample.0", stride, stride, stride)
                    around = self.norm(around, f"{name}.downsample.1")
                x = (x + around).relu()
        return x

    def slow(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x, "blocks.0.conv", 1, 2, 2), "blocks.0.norm").relu()
        x = functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for stage, count in enumerate((3, 4, 6, 3), 1):
            for block in range(count):
                name, stride, around = f"blocks.{stage}.res_blocks.{block}", 2 if stage > 1 and block == 0 else 1, x
                x = self.norm(self.conv(x, f"{name}.branch2.conv_a"), f"{name}.branch2.norm_a").relu()
                x = self.conv(x, f"{name}.branch2.conv_b", 1, stride, stride)
                x = self.conv(self.norm(x, f"{name}.branch2.norm_b").relu(), f"{name}.branch2.conv_c")
                x = self.norm(x, f"{name}.branch2.norm_c")
                if block == 0:
                    around = self.norm(
                        self.conv(around, f"{name}.branch1_conv", 1, stride, stride), f"{name}.branch1_norm"
                    )
                x = (x + around).relu()
        return x


FORWARD: dict[str, Callable[[Reference, Tensor], Tensor]] = {
    "r2plus1d18": lambda reference, x: reference.torchvision(x, True),
    "r3d18tv": lambda reference, x: reference.torchvision(x, False),
    "r3d50": Reference.r3d50,
    "slow_r50": Reference.slow,
}


@pytest.mark.parametrize("name", SHAPES)
def test_published_weights_are_found_and_give_the_published_features(name: str, tmp_path: Path) -> None:
    state, head = draw_state(name), HEADS[name]
    width = int(BACKBONES[name].feature_size)  # type: ignore[call-overload]
    classifier = {f"{head}weight": torch.zeros(CLASSES, width), f"{head}bias": torch.zeros(CLASSES)}
    torch.save(ENVELOPES[name](state | classifier), tmp_path / "published.pth")
    found, loaded = find_backbone(tmp_path / "published.pth")
    assert found == name
    backbone = build_backbone(name).eval()
    backbone.load_state_dict(loaded)
    if name in PARAMETERS:
        assert sum(p.numel() for p in backbone.parameters()) + CLASSES * (width + 1) == PARAMETERS[name]
    x = torch.randn(1, 3, 5, 48, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        features, expected = backbone(x), FORWARD[name](Reference(state), x)
    assert expected.std() > 0.1, "the weights do not let values vanish"
    torch.testing.assert_close(features, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("r2plus1d18", (1, 512, 2, 7, 7)),
        ("r3d18tv", (1, 512, 2, 7, 7)),
        ("r3d50", (1, 2048, 1, 4, 4)),
        ("slow_r50", (1, 2048, 16, 4, 4)),
    ],
)
def test_features_of_these_have_the_promised_shape(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name)
        assert backbone(torch.zeros(1, 3, 16, 112, 112)).shape == shape and backbone.feature_size == shape[1]


def test_a_deeper_network_of_the_same_keys_is_another(tmp_path: Path) -> None:
    deeper = draw_state("slow_r50") | {"blocks.3.res_blocks.6.branch2.conv_a.weight": torch.zeros(256, 1024, 3, 1, 1)}
    torch.save({"model_state": deeper}, tmp_path / "slow_r101.pth")
    with pytest.raises(Exception, match=r"nearest is slow_r50: it has besides blocks\.3\.res_blocks\.6"):
        find_backbone(tmp_path / "slow_r101.pth")


def test_a_block_of_slow_r50_starts_as_its_shortcut() -> None:
    gains = [m.weight for name, m in build_backbone("slow_r50").named_modules() if name.endswith("norm_c")]
    assert len(gains) == 16 and not any(bool(gain.any()) for gain in gains)
    assert isinstance(gains[0], nn.Parameter)


METHODS = [("moco", []), ("s2vc", ["--alpha", 0.5]), ("s2vc-online", ["--alpha", 0.5]), ("supervised", [])]
QUICK = ("moco", "supervised")
TINY = ["--split", "all", "--batch", 4, "--size", 32, "--clip-length", 2, "--frame-step", 1, "--epochs", 1]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(name, number, marks=[] if place == number and method in QUICK else pytest.mark.slow)
        for place, name in enumerate(SHAPES)
        for number, (method, _) in enumerate(METHODS)
    ],
)
def test_every_method_makes_a_step(
    name: str, number: int, cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    method, more = METHODS[number]
    how = ["--method", method, *more, *TINY, "--backbone", name, "--loader-workers", 0, "--device", "cpu"]
    result = train_cli(cache_path, *how, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert f"{method} with {name} on 5 videos, 2 frames of 32x32: 1 epoch, 1 step" in result.output
    assert find_backbone(tmp_path / "run")[0] == name


def test_default_clips_are_those_of_the_backbone() -> None:
    assert list(CLIP_SHAPES) == list(BACKBONES)
    settings = merge_settings({"method": "moco", "backbone": "slow_r50"})
    assert (settings.clip_length, settings.frame_step, settings.size) == (8, 8, 224), "8 x 8, as SLOW_8x8_R50"

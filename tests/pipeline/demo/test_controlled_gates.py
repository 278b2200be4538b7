"""What the controlled set promises, through H.264: a frame tells the scene and not the motion, a clip the motion."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from s2vc.manifests.motions import MOTIONS
from s2vc.manifests.scenes import SCENES
from s2vc.pipeline.demo.controlled_set import SampleFolder, SampleSettings, draw_missing
from s2vc.pipeline.stages.video import decode_video
from tests.support.classifiers import linear_discriminant

SETTINGS = SampleSettings(per_class=60, test_per_class=12)
HEIGHT, WIDTH = 64, 86
CHANCE = 1 / 12
EPOCHS, BATCH = 75, 24
LENGTH, STEP, SIDE = 8, 2, 64

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Decoded:
    """Videos as they come out of H.264: frames (N, 36, 64, 86, 3) uint8, motions and scenes (N,), trained (N,) bool."""

    frames: np.ndarray
    motions: np.ndarray
    scenes: np.ndarray
    trained: np.ndarray


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Decoded:
    """720 training videos without a correlation, and 144 neutral ones."""
    return draw_and_decode(SampleFolder(tmp_path_factory.mktemp("gates")))


def draw_and_decode(folder: SampleFolder) -> Decoded:
    videos = [v for v in SETTINGS.plan() if v.part in ("train", "neutral")]
    missing = [v for v in videos if not folder.has(v.video_id)]
    assert len(list(draw_missing(folder, SETTINGS, missing, None))) == len(missing)
    return Decoded(
        np.stack([frames_of(folder.videos / v.video_id) for v in videos]),
        np.array([MOTIONS.index(v.motion) for v in videos]),
        np.array([SCENES.index(v.scene) for v in videos]),
        np.array([v.part == "train" for v in videos]),
    )


def frames_of(path: Path) -> np.ndarray:
    pieces: list[np.ndarray] = []
    decode_video(path, HEIGHT, WIDTH, pieces.append)
    return np.concatenate(pieces)


def test_one_frame_tells_the_scene(decoded: Decoded) -> None:
    looks = np.stack([colours_and_gradients(video[12].astype(float)) for video in decoded.frames])
    predicted = linear_discriminant(looks[decoded.trained], decoded.scenes[decoded.trained], looks[~decoded.trained])
    assert shown("scene by a frame", predicted == decoded.scenes[~decoded.trained]) >= 0.95


def shown(what: str, right: np.ndarray) -> float:
    """Print and return the share of (N,) bool that is right: `-s` shows what docs/controlled-set.md says."""
    print(f"{what}: {right.mean():.1%} of {len(right)}")
    return float(right.mean())


def colours_and_gradients(frame: np.ndarray) -> np.ndarray:
    """Mean colour, and strength and direction of the gradients of grey: (6,)."""
    grey = frame.mean(axis=-1)
    y, x = np.gradient(grey)
    doubled = ((x + 1j * y) ** 2).mean() / (x**2 + y**2).mean()
    return np.array([*frame.mean(axis=(0, 1)), np.hypot(y, x).mean() / grey.std(), doubled.real, doubled.imag])


def test_one_frame_does_not_tell_the_motion(decoded: Decoded) -> None:
    """Histograms of, and a coarse picture of where, colours, saturation and edges are; each video is asked once."""
    numbers = (2, 11, 20, 29)
    looks = np.stack([[where_what_is(v[n].astype(float)) for n in numbers] for v in decoded.frames])
    fold = np.arange(len(looks)) // len(MOTIONS) % 6
    right = []
    for k in range(6):
        seen, asked = (part.reshape(-1, looks.shape[-1]) for part in (looks[fold != k], looks[fold == k]))
        predicted = linear_discriminant(seen, np.repeat(decoded.motions[fold != k], len(numbers)), asked, ridge=1.0)
        right.append(predicted == np.repeat(decoded.motions[fold == k], len(numbers)))
    assert shown("motion by a frame", np.concatenate(right)) <= CHANCE + 0.03


def where_what_is(frame: np.ndarray) -> np.ndarray:
    grey = frame.mean(axis=-1)
    y, x = np.gradient(grey)
    planes = [*np.moveaxis(frame, -1, 0), np.ptp(frame, axis=-1), np.abs(x), np.abs(y), np.abs(ndimage.laplace(grey))]
    histograms = [np.histogram(plane, 16, (0, 256))[0] / 100 for plane in planes]
    coarse = [ndimage.zoom(plane, (6 / HEIGHT, 8 / WIDTH), order=1).ravel() for plane in planes]
    return np.concatenate([*histograms, *coarse])


def test_a_clip_tells_the_motion(decoded: Decoded) -> None:
    torch.manual_seed(0)
    network = motion_network()
    for line in training(network, decoded):
        print(line)
    tested = decoded.frames[~decoded.trained]
    predicted = [int(scores(network, video).argmax()) for video in tested]
    assert shown("motion by a clip", predicted == decoded.motions[~decoded.trained]) >= 0.95


def motion_network(width: int = 16) -> nn.Sequential:
    """Clips (N, 3, 8, 64, 64) -> logits (N, 12): five 3D convolutions, and the strongest answer over the frame."""
    layers: list[nn.Module] = []
    shapes = ((1, 5, (1, 2, 2)), (2, 3, (1, 2, 2)), (4, 3, (1, 2, 2)), (4, 3, (2, 1, 1)), (8, 3, (2, 2, 2)))
    channels = 3
    for times, side, stride in shapes:
        conv = nn.Conv3d(channels, times * width, (3, side, side), stride, (1, side // 2, side // 2), bias=False)
        layers += [conv, nn.BatchNorm3d(times * width), nn.ReLU()]
        channels = times * width
    layers += [nn.AdaptiveMaxPool3d((2, 1, 1)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(2 * channels, len(MOTIONS))]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def training(network: nn.Sequential, decoded: Decoded) -> Iterator[str]:
    """Train on clips that start anywhere, cropped, mirrored, reversed and recoloured at random; a line per epoch."""
    rng = np.random.default_rng(0)
    chosen = np.flatnonzero(decoded.trained)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-3)
    steps = EPOCHS * (len(chosen) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for epoch in range(EPOCHS):
        right = []
        for videos in rng.permutation(chosen).reshape(-1, BATCH):
            clips = [augmented(decoded.frames[v], rng) for v in videos]
            logits, classes = network(without_mean(clips)), torch.from_numpy(decoded.motions[videos])
            optimizer.zero_grad()
            functional.cross_entropy(logits, classes).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimizer.step()
            schedule.step()
            right.append((logits.argmax(dim=1) == classes).float().mean().item())
        yield f"epoch {epoch + 1}: top-1 of training clips {np.mean(right):.3f}"


def augmented(video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip (8, 64, 64, 3) of a video (36, 64, 86, 3); no class has a direction, so mirrors keep all of them."""
    start, left = rng.integers(len(video) - STEP * (LENGTH - 1)), rng.integers(WIDTH - SIDE + 1)
    clip = video[start : start + STEP * LENGTH : STEP, :, left : left + SIDE]
    for axis in range(3):
        if rng.random() < 0.5:
            clip = np.flip(clip, axis)
    return clip[..., rng.permutation(3)]


def without_mean(clips: list[np.ndarray]) -> Tensor:
    """Clips less their mean over time, (N, 3, 8, 64, 64): from whole frames so small a network learns only scenes."""
    pixels = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float() / 255
    centred = 8 * (pixels - pixels.mean(dim=2, keepdim=True))
    return centred.contiguous(memory_format=torch.channels_last_3d)


@torch.no_grad()
def scores(network: nn.Sequential, video: np.ndarray) -> Tensor:
    """Mean probabilities over three windows and three crops of a video: (12,)."""
    clips = [video[t : t + STEP * LENGTH : STEP, :, x : x + SIDE] for t in (0, 10, 20) for x in (0, 11, 22)]
    return network.eval()(without_mean(clips)).softmax(dim=1).mean(dim=0)

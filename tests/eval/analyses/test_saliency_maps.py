"""Energy of a backbone whose activations are known, correlations against numpy's, and the command on real caches."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from s2vc.eval.analyses.class_activation import ClassifiedRows, class_activation, class_weights
from s2vc.eval.analyses.mover_masks import MoverMasks, share_on_mask
from s2vc.eval.analyses.optical_flow import STILL_SPEED, speeds
from s2vc.eval.analyses.saliency_figure import Layer, saliency_layers
from s2vc.eval.analyses.saliency_maps import (
    MAX_WINDOWS,
    VideoSaliency,
    correlations,
    energy,
    other_flow_correlation,
    own_flow_correlation,
    own_mask_share,
    video_saliency,
)
from s2vc.eval.probe import LinearProbe
from s2vc.eval.view import StoredWindows, View
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.backbones import build_backbone
from s2vc.training.moco import MoCo
from s2vc.training.settings import TrainingSettings, settings_yaml
from tests.eval.conftest import Evaluate


class Cells(nn.Module):
    """Means over cells of 4 frames and 16 x 16 pixels; channels: the mean colours, and twice their sum."""

    feature_size = 4

    def forward(self, x: Tensor) -> Tensor:
        colours = nn.functional.avg_pool3d(x, (4, 16, 16))
        return torch.cat([colours, 2 * colours.sum(dim=1, keepdim=True)], dim=1)


def test_energy_is_the_sum_of_squares_over_channels() -> None:
    clips = torch.zeros(2, 3, 8, 32, 48)
    clips[1, 0, 4:, :16, 32:], clips[1, 1, 4:, :16, 32:] = 3, -1
    expected = torch.zeros(2, 2, 2, 3)
    expected[1, 1, 0, 2] = 3**2 + 1**2 + (2 * 2) ** 2
    torch.testing.assert_close(energy(Cells()(clips)), expected)


def test_correlations_are_those_of_numpy() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 5, 3, 4, 6)).astype(np.float32)
    b[2, 1] = 7.1  # the same everywhere
    found = correlations(a, b)
    assert found.shape == (5, 3) and np.isnan(found[2, 1])
    for i, j in np.argwhere(~np.isnan(found)):
        assert found[i, j] == pytest.approx(np.corrcoef(a[i, j].ravel(), b[i, j].ravel())[0, 1])


def test_the_control_is_the_flow_of_every_other_video() -> None:
    rng = np.random.default_rng(0)
    none = np.zeros((0,), np.uint8)
    one, two, three = (
        VideoSaliency(name, rng.random((w, 2, 4, 4)), rng.random((w, 2, 4, 4)), none, none)
        for name, w in (("one", 3), ("two", 3), ("three", 5))
    )
    assert own_flow_correlation(one) == pytest.approx(correlations(one.energy, one.speed).mean())
    expected = [correlations(one.energy, two.speed).mean(), correlations(one.energy, three.speed[[0, 2, 4]]).mean()]
    assert other_flow_correlation(one, [one, two, three]) == pytest.approx(np.mean(expected))
    assert np.isnan(other_flow_correlation(one, [one]))
    still = replace(one, speed=np.zeros_like(one.speed))
    assert np.isnan(own_flow_correlation(still)) and own_flow_correlation(
        replace(one, speed=2 * one.energy + 1)
    ) == pytest.approx(1)


def test_what_is_seen_of_a_video(cache_path: Path) -> None:
    cache, view = Cache(cache_path), View(63, 8)  # the centre of 72 x 98 is 63 pixels wide: no resizing
    seen = video_saliency(cache, StoredWindows(cache, np.array([0]), view), 0, Cells(), view, torch.device("cpu"))
    frames = cache.frames(str(cache.index["video_id"].iloc[0]))
    starts = np.arange(0, 33, 4)[np.linspace(0, 8, MAX_WINDOWS).round().astype(int)]  # of 40 frames
    assert seen.energy.shape == seen.speed.shape == (MAX_WINDOWS, 2, 3, 3)
    start = starts[seen.middle]
    np.testing.assert_array_equal(seen.clip, frames[start : start + 8, 4:67, 18:81])
    expected = np.stack(list(speeds(frames[start : start + 8])))[:, 4:67, 18:81]
    expected = np.where(expected < STILL_SPEED, 0, expected)
    np.testing.assert_allclose(seen.clip_speed, expected, atol=1e-6)
    pixels = (seen.clip / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    corner = pixels[:4, :16, :16].mean(axis=(0, 1, 2))
    corner_energy = (corner**2).sum() + (2 * corner.sum()) ** 2
    assert seen.energy[seen.middle, 0, 0, 0] == pytest.approx(corner_energy, rel=1e-4)
    assert seen.speed[seen.middle].mean() == pytest.approx(expected.mean(), rel=0.2)  # cells overlap a little


def fitted_probe(width: int, classes: int) -> LinearProbe:
    """A classifier whose batch norm has seen something."""
    probe = LinearProbe(width, classes)
    with torch.no_grad():
        probe(torch.rand(64, width))
        probe.norm.weight.uniform_(0.5, 2)
    return probe.eval()


@pytest.mark.parametrize("classifier", [fitted_probe(6, 5), nn.Linear(6, 5)])
def test_the_mean_of_a_class_activation_map_is_the_class_score_up_to_a_constant(classifier: nn.Module) -> None:
    torch.manual_seed(0)
    maps = torch.rand(3, 6, 2, 4, 5)
    pooled = maps.mean(dim=(2, 3, 4))
    scores = classifier(pooled).detach()
    # The constant is the score of features of length 0, where the classifier has nothing to see.
    nothing = classifier(torch.zeros(1, 6)).detach()
    for target in range(5):
        found = class_activation(maps, class_weights(classifier, pooled, target)).detach()
        assert found.shape == (3, 2, 4, 5)
        torch.testing.assert_close(found.mean(dim=(1, 2, 3)), scores[:, target] - nothing[0, target])
    # Of a linear layer, by the formula of the paper that defines it, place by place.
    if isinstance(classifier, nn.Linear):
        expected = sum(float(classifier.weight[4, k].detach()) * maps[2, k, 1, 3, 0] for k in range(6))
        torch.testing.assert_close(found[2, 1, 3, 0], expected)


def test_a_class_is_found_where_its_colour_is() -> None:
    maps = torch.zeros(1, 3, 2, 4, 4)
    maps[0, 1, :, 2, 3], maps[0, 2, :, 0, 0] = 5, 7  # green at one place, blue at another
    classifier = nn.Linear(3, 2)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[0.0, 1, -1], [0, -1, 1]]))
    rows = ClassifiedRows(classifier, {0: (0, "green"), 4: (1, "blue")})
    assert rows.activation(maps, 0)[0, 0].argmax() == 2 * 4 + 3
    assert rows.activation(maps, 4)[0, 0].argmax() == 0


def test_the_share_on_a_mask_is_that_of_what_is_positive() -> None:
    maps = np.array([[[[3.0, -5], [1, 0]]], [[[0, 2], [2, 0]]], [[[-1, -1], [-1, 0]]]])
    cover = np.array([[[[1.0, 1], [0, 0]]], [[[0, 0.5], [0, 1]]], [[[1, 1], [1, 1]]]])
    assert share_on_mask(maps, cover) == pytest.approx((3 / 4 + 1 / 4) / 2)  # of the third nothing is positive
    assert share_on_mask(np.ones_like(maps), cover) == pytest.approx(cover.mean())
    assert np.isnan(share_on_mask(maps[2:], cover[2:]))


@pytest.mark.parametrize("constant", [-100.0, 0.0, 7.0])
def test_the_share_of_a_class_activation_map_does_not_hang_on_its_constant(constant: float) -> None:
    """The bias of a class is a constant of its map, which has no place."""
    cam = np.array([[[[0.0, 3], [1, 0]]], [[[2, 0], [0, 6]]]]) + constant
    cover = np.array([[[[0.0, 1], [0, 0]]], [[[0, 0], [0, 0.5]]]])
    seen = VideoSaliency("a", np.ones_like(cam), cam, np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4)), cam, cover)
    assert own_mask_share(seen, "cam") == pytest.approx((3 / 4 + 3 / 8) / 2)
    flat = replace(seen, cam=np.full_like(cam, constant))
    assert np.isnan(own_mask_share(flat, "cam"))


def save_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, mask=mask)


def test_masks_are_cut_as_frames_are(cache_path: Path, tmp_path: Path) -> None:
    # A mask of twice the stored size, 72 x 98, over the right-hand part of the last 20 of 40 frames.
    cache, view, rows = Cache(cache_path), View(63, 8), np.array([0])
    mask = np.zeros((40, 144, 196), bool)
    mask[20:, :, 36 + 84 :] = True  # from column 60 of the stored frames; the crop is columns 18 to 81
    save_mask(tmp_path / "slide" / "a.npz", mask)
    movers = MoverMasks(tmp_path, cache)
    movers.check(rows)
    seen = video_saliency(cache, StoredWindows(cache, rows, view), 0, Cells(), view, torch.device("cpu"), masks=movers)
    assert seen.cover is not None and seen.cover.shape == seen.energy.shape
    starts = np.arange(0, 33, 4)[np.linspace(0, 8, MAX_WINDOWS).round().astype(int)]
    for start, cover in zip(starts, seen.cover, strict=True):
        covered = (np.arange(start, start + 8) >= 20).mean()
        np.testing.assert_allclose(cover.mean(axis=(0, 1)), covered * np.array([0, 0, 1]), atol=1e-6)
    save_mask(tmp_path / "slide" / "a.npz", mask[:7])
    with pytest.raises(UserError, match="40 stored frames"):
        movers.of_frames(0, np.arange(3))
    (tmp_path / "slide" / "a.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="is no mask"):
        movers.of_frames(0, np.arange(3))


def test_pictures_have_one_scale_over_all_videos() -> None:
    rng = np.random.default_rng(0)
    clip = np.full((4, 8, 8, 3), 90, np.uint8)
    heat = rng.random((1, 2, 4, 4)).astype(np.float32)
    speed = rng.random((3, 8, 8)).astype(np.float32)
    strong, weak = VideoSaliency("a", heat, heat, clip, speed), VideoSaliency("b", heat / 4, heat, clip, speed / 4)
    energies, flow = saliency_layers([strong, weak])
    assert (energies.name, flow.name, flow.low) == ("energy", "optical flow", 0)
    assert energies.high == energies.values[0].max() > 3 * energies.values[1].max()
    assert flow.high == pytest.approx(np.percentile(np.concatenate([speed, speed / 4]), 99.5))
    for layer in (energies, flow):
        # Blue is low: the weak one has no red to speak of, and the strong one has.
        reds = [int(layer.picture(clip[0], video, 1)[..., 0].max()) for video in (0, 1)]
        assert reds[0] > 150 > reds[1]
    same = saliency_layers([strong, strong])[0]
    np.testing.assert_array_equal(same.picture(clip[0], 0, 0), same.picture(clip[0], 1, 0))


def test_a_map_of_one_cell_is_refused(cache_path: Path) -> None:
    cache, view = Cache(cache_path), View(31, 8)
    with pytest.raises(UserError, match="single cell"):
        video_saliency(cache, StoredWindows(cache, np.array([0]), view), 0, Cells(), view, torch.device("cpu"))


SMALL = ["--size", 64, "--frames", 8]


def test_the_command_writes_numbers_a_sheet_and_an_animation(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path
) -> None:
    left = np.zeros((20, 64, 80), bool)
    left[..., :40] = True
    for video in Cache(labelled_cache).index["video_id"]:
        save_mask(tmp_path / "masks" / f"{Path(video).stem}.npz", left)
    few = ["--cam", "linear", "--epochs", 3, "--train-views", 1, "--masks", tmp_path / "masks", "--videos", 3]
    result = evaluate("saliency", labelled_cache, "random", *SMALL, *few, "--gif", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    path = next(tmp_path.glob("saliency-*.json"))
    numbers = json.loads(path.read_text())
    assert numbers["split"] == "split1" and len(numbers["per_video"]) == 3
    index = Cache(labelled_cache).index.set_index("video_id")
    assert all(index.loc[v["video_id"], "split1"] == "test" for v in numbers["per_video"])
    assert numbers["correlation"] == pytest.approx(np.mean([v["correlation"] for v in numbers["per_video"]]))
    assert -1 <= numbers["correlation_other_flow"] <= 1 and -1 <= numbers["cam_correlation"] <= 1
    assert numbers["area_on_mask"] == pytest.approx(0.5, abs=1e-6)  # the crop is in the middle
    assert 0 < numbers["energy_on_mask"] < 1 and 0 < numbers["cam_on_mask"] < 1
    assert numbers["energy_on_other_mask"] == pytest.approx(numbers["energy_on_mask"])  # all masks are alike
    assert Image.open(path.with_suffix(".png")).size[0] > 400
    assert Image.open(path.with_suffix(".gif")).n_frames == 8


def test_all_videos_are_drawn_from_on_demand(evaluate: Evaluate, cache_path: Path, tmp_path: Path) -> None:
    arguments = ["--split", "all", "--videos", 9, "--out", tmp_path]
    result = evaluate("saliency", cache_path, "random", *SMALL, *arguments)
    assert result.exit_code == 0, result.output
    numbers = json.loads(next(tmp_path.glob("saliency-*.json")).read_text())
    assert numbers["videos"] == 5 and numbers["undefined"] == 1  # one has a single frame: nothing moves
    assert "no correlation for 1 video, where nothing moves" in result.output


def test_mistakes_are_reported_in_one_line(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    def error_line(cache: Path, *arguments: object) -> str:
        result = evaluate("saliency", cache, "random", *SMALL, *arguments, "--out", tmp_path / "out")
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.output.splitlines() if line.startswith("s2vc-eval: ")]
        return line

    assert "no split 'split9'" in error_line(labelled_cache, "--split", "split9")
    assert "single cell" in error_line(labelled_cache, "--size", 32)
    assert "random is no run that holds a classifier" in error_line(labelled_cache, "--cam", "finetune")
    model = MoCo(build_backbone("s3d"), queue=0)
    content = {"state_dict": model.state_dict(), "settings": settings_yaml(TrainingSettings(cache=str(labelled_cache)))}
    torch.save(content, tmp_path / "contrastive.pt")
    arguments = ["saliency", labelled_cache, tmp_path / "contrastive.pt", *SMALL, "--cam", "finetune"]
    refused = evaluate(*arguments, "--out", tmp_path / "out")
    assert refused.exit_code == 2 and "is no run that holds a classifier" in refused.output, "its head is none"
    (tmp_path / "masks").mkdir()
    assert "4 of 4 videos have no mask, first" in error_line(labelled_cache, "--masks", tmp_path / "masks")
    shutil.copytree(labelled_cache, tmp_path / "cache")
    index = tmp_path / "cache" / "index.csv"
    index.write_text(index.read_text().replace(",test,", ",train,"))
    assert "no test videos" in error_line(tmp_path / "cache")
    for path in (tmp_path / "cache" / "frames").iterdir():
        path.unlink()
    assert "s2vc-prep verify" in error_line(tmp_path / "cache", "--split", "all")


def test_the_scale_of_a_layer_is_written_as_people_read_it() -> None:
    assert Layer("energy", [], 912.3, 1723.0).scale == "energy: 912 (blue) to 1723 (red)"
    assert Layer("optical flow", [], 0.0, 2.71, " pixels a frame").scale.endswith(
        "0 (blue) to 2.7 pixels a frame (red)"
    )

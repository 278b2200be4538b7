"""Measure what antialiased crops cost and keep out, and what the order of flow and colours changes in keys.

python -m tests.benchmarks.augmentation [--clips 12] [--repeats 15] [--only crops stripes colours]
"""

import argparse
import statistics

import torch
from kornia import augmentation as kornia
from torch import Tensor, nn

from s2vc.pipeline.flow import load_flow
from s2vc.pipeline.stages.video import decode_video
from s2vc.pipeline.static_cues import motion_preserved
from s2vc.training.augment import CROP_RATIO, RandomColour, RandomCrop
from s2vc.training.clips import as_video
from tests.benchmarks.measure import SIZE, one_thread, print_machine, print_row, ratio, real_clips, scratch, seconds

SCALE = (0.2, 1.0)
FRAMES = 16
ALPHA = 0.5
SHAPES = ((128, 171, 112, 16), (128, 171, 128, 32), (256, 340, 112, 16))
"""Each is the height and width of stored frames, the size of crops, and the frames of a clip."""


class BilinearCrop(nn.Module):
    """Crops by kornia's bilinear resizing, which is not antialiased: what RandomCrop is compared with."""

    def __init__(self, size: int):
        super().__init__()
        self._crop = kornia.RandomResizedCrop((size, size), SCALE, CROP_RATIO, align_corners=False)
        self._flip = kornia.RandomHorizontalFlip(p=0.5)

    def forward(self, clips: Tensor) -> Tensor:
        images = self._flip(self._crop(clips.flatten(1, 2)))
        return images.unflatten(1, clips.shape[1:3])


def crops(repeats: int) -> None:
    """Compare the time of a batch's crops with that of bilinear ones, by the same draws."""
    for height, width, size, frames in SHAPES:
        clips = as_video(torch.randint(256, (4, frames, height, width, 3), dtype=torch.uint8))
        cutters = {"bilinear": BilinearCrop(size), "antialiased": RandomCrop(size, SCALE)}
        times: dict[str, list[float]] = {name: [] for name in cutters}
        for seed in range(repeats):
            for name, cutter in cutters.items():
                torch.manual_seed(seed)
                times[name].append(seconds(lambda cutter=cutter, clips=clips: cutter(clips)))
        each = statistics.median(times["antialiased"]) / len(clips)
        what = f"antialiased crop, {frames} x {height}x{width} to {size}²"
        print_row(what, f"{1000 * each:.1f} ms a clip", ratio(times["antialiased"], times["bilinear"]), "1.1x at most")


def stripes() -> None:
    """Print what is left of stripes of one pixel, whose deviation is 0.5, in crops of 256x340 to 112²."""
    clips = (torch.arange(340) % 2).float().expand(32, 3, 1, 256, 340).contiguous()
    for name, cutter in (("bilinear", BilinearCrop(112)), ("antialiased", RandomCrop(112, SCALE))):
        torch.manual_seed(0)
        left = cutter(clips).flatten(1).std(dim=1)
        print_row(f"stripes in {name} crops, deviation", f"{left.median():.3f} median, {left.mean():.3f} mean")


def colours(count: int) -> None:
    """Compare motion-preserved clips that were coloured after the flow with those that were coloured before it."""
    flow, clips = load_flow("default"), first_frames(count)
    changed, _ = motion_preserved(clips, flow, ALPHA)
    outside = ((changed < 0) | (changed > 1)).double().mean()
    print_row(f"values of V_p outside [0, 1] at alpha {ALPHA}", f"{outside:.1%}")
    found: dict[str, list[float]] = {"before": [], "after, not clamped": [], "after, clamped": []}
    for seed in range(4):

        def coloured(video: Tensor, clamp: bool, seed: int = seed) -> Tensor:
            torch.manual_seed(seed)
            return RandomColour(clamp=clamp)(video)

        before, _ = motion_preserved(coloured(clips, True), flow, ALPHA)
        found["before"].append(rms(before - before.mean(dim=(2, 3, 4), keepdim=True)))
        for clamp, name in ((False, "after, not clamped"), (True, "after, clamped")):
            found[name].append(rms(coloured(changed, clamp) - before))
    levels = {name: 255 * statistics.mean(values) for name, values in found.items()}
    print_row("V_p, coloured before: off from its mean, rms", f"{levels['before']:.1f} grey levels")
    for name in ("after, not clamped", "after, clamped"):
        share = levels[name] / levels["before"]
        print_row(f"colours {name}: off from before, rms", f"{levels[name]:.1f} grey levels", share)


def first_frames(count: int) -> Tensor:
    """Return the first FRAMES frames of real clips, (count, 3, FRAMES, H, W) float32 in [0, 1]."""
    found = []
    with scratch() as folder:
        paths = real_clips("interaction", folder)
        for path in paths[:: max(1, len(paths) // count)][:count]:
            taken: list[Tensor] = []
            decode_video(path, *SIZE, lambda frames, taken=taken: taken.append(torch.from_numpy(frames.copy())), 1)
            found.append(torch.cat(taken)[:FRAMES])
    return as_video(torch.stack(found))


def rms(difference: Tensor) -> float:
    return float(difference.double().square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", nargs="+", default=["crops", "stripes", "colours"])
    options = parser.parse_args()
    one_thread()
    print_machine()
    if "crops" in options.only:
        crops(options.repeats)
    if "stripes" in options.only:
        stripes()
    if "colours" in options.only:
        colours(options.clips)


if __name__ == "__main__":
    main()

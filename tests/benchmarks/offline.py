"""Compare motion-preserved crops made offline (flow on the whole frame, then crop) and online (crop, then flow).

The clips are the demo set's, whose masks are known. Results are given by the share of the frame that a crop covers:
python -m tests.benchmarks.offline [--alpha 0.5] [--per-class 2]
"""

import argparse
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.corrections import read_corrections
from s2vc.pipeline.demo.sample_files import DemoPaths, resized_masks, write_sample
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.static_cues import motion_preserved
from s2vc.training.clips import MotionClip, PairClips, as_video, motion_preserved_video
from tests.benchmarks.measure import print_machine, run_prep, scratch

SCALES = (1.0, 0.8, 0.6, 0.4, 0.2)
SIZE = 112
LENGTH = 16


class Left(NamedTuple):
    """Holds what is left in a key crop, all as shares: the contrast of the background and of the mover relative to the
    original's (as in the demo's table), the latents kept, and the mean change of a pixel."""

    background: float
    mover: float
    kept: float
    change: float


def crop_box(scale: float, height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a box at random that covers a share `scale` of the frame and has the frame's aspect ratio."""
    h, w = round(height * scale**0.5), round(width * scale**0.5)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return slice(top, top + h), slice(left, left + w)


def cropped(video: Tensor, box: tuple[slice, slice]) -> Tensor:
    """Cut the box out of a video (3, T, H, W) and resize it as in training: (3, T, SIZE, SIZE)."""
    part = video[:, :, box[0], box[1]].transpose(0, 1)
    return functional.interpolate(part, size=(SIZE, SIZE), mode="bilinear", align_corners=False).transpose(0, 1)


def what_is_left(original: Tensor, key: Tensor, masks: Tensor, kept: float) -> Left | None:
    """Return what is left of the original in the key, clips (3, T, S, S), by the mover's masks (T, S, S).

    Returns None if the crop misses the mover or the background.
    """
    before, after = original.mean(0).numpy(), key.mean(0).numpy()
    still, moving = ~masks.any(0).numpy(), masks.numpy()
    seen = [t for t in range(len(moving)) if moving[t].sum() > 100]
    if still.sum() < 1000 or not seen:
        return None
    background = np.mean([after[t][still].std() / before[t][still].std() for t in range(len(after))])
    mover = np.mean([after[t][moving[t]].std() / before[t][moving[t]].std() for t in seen])
    return Left(float(background), float(mover), kept, float((key - original).abs().mean()))


def compare(cache: Cache, paths: DemoPaths, flow: Flow, alpha: float, scale: float) -> dict[str, Left]:
    """Return the results of both ways on the same boxes of the same clips, averaged over the videos."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Left]] = {"offline": [], "online": []}
    variant = f"alpha{alpha:g}-zero-clip{LENGTH}"
    for video_id in cache.index["video_id"]:
        frames = cache.windows(video_id, variant)[0]
        video = as_video(torch.from_numpy(cache.frames(video_id)[frames])[None])
        height, width = video.shape[-2:]
        box = crop_box(scale, height, width, rng)
        masks = torch.from_numpy(resized_masks(np.load(paths.mask(video_id))["mask"], (height, width))[frames])
        seen = cropped(masks[None].float(), box)[0] > 0.5
        original = cropped(video[0], box)
        offline = what_is_left(
            original, cropped(rendered(cache, video_id, variant), box), seen, float(cache.kept(video_id, variant)[0])
        )
        online_clip, std = motion_preserved(original[None], flow, alpha)
        online = what_is_left(original, online_clip[0], seen, share(std, alpha))
        if offline and online:
            found["offline"].append(offline)
            found["online"].append(online)
    return {name: Left(*np.mean(rows, axis=0).tolist()) for name, rows in found.items()}


def rendered(cache: Cache, video_id: str, variant: str) -> Tensor:
    """Return the key clip of the video's first window as training reads it: (3, LENGTH, H, W)."""
    pairs = PairClips(cache, [variant], LENGTH, pair="same", split="all")
    video = pairs.videos[pairs.video_ids.index(video_id)]
    motion = read_corrections(cache.layout.motion(pairs.variants[0], video.shard))
    window = int(motion.windows_of(video.row)[0])
    frames = torch.from_numpy(cache.frames(video_id)[motion.frames_of(window) - video.first_frame])
    correction = torch.from_numpy(motion.correction(window, np.arange(LENGTH)))
    return motion_preserved_video(MotionClip(frames[None], correction[None], torch.tensor([motion.scale[window]])))[0]


def share(std: Tensor, alpha: float) -> float:
    return float((std >= alpha).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--per-class", type=int, default=2)
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES, help="shares of the frame")
    arguments = parser.parse_args()
    print_machine()
    with scratch() as folder:
        paths = DemoPaths(folder)
        videos = list(write_sample(paths, arguments.per_class))
        run_prep("encode", paths.manifest, "--root", paths.videos, "--out", paths.cache)
        run_prep("render", paths.cache, "--alpha", arguments.alpha, "--scope", "clip", "--clip-length", LENGTH)
        cache, flow = Cache(paths.cache), load_flow("default")
        print(f"{len(videos)} videos of the demo set, first {LENGTH} frames, alpha {arguments.alpha:g}")
        print("  crop  way       background  mover   kept   mean change")
        for scale in arguments.scales:
            for name, left in compare(cache, paths, flow, arguments.alpha, scale).items():
                print(
                    f"  {scale:4.0%}  {name:8} {left.background:10.1%} {left.mover:7.1%} {left.kept:6.1%} "
                    f"{left.change:10.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

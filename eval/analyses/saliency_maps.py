"""Where a backbone looks: the energy of its last convolution, compared with optical flow (paper, Fig. 7).

The energy of a place is the sum of squares over the channels of the backbone's output there, which a pre-trained
backbone has without a classifier. With a classifier there is the class activation map as well (class_activation), whose
technique the paper names.

Maps are compared at their own resolution, 4x4 for R3D-18 at 112x112. Convolutions with padding give the border less
energy whatever is shown, and what moves is seldom at the border. So every correlation is given together with that of
the same map with the flow of other videos.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.eval.analyses.class_activation import ClassifiedRows
from s2vc.eval.analyses.mover_masks import MoverMasks, share_on_mask
from s2vc.eval.analyses.optical_flow import STILL_SPEED, speeds
from s2vc.eval.view import StoredWindows, View, WindowCrops
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.training.fixed_crop import CENTRE, CROP_SHARE, fixed_crop

MAX_WINDOWS = 4
"""So many windows of a video are looked at, evenly spaced, so that long videos take no longer."""


@dataclass(frozen=True)
class VideoSaliency:
    """Holds what was seen of a video.

    energy, speed: of W windows at the resolution of the backbone's output, (W, T', H', W') float32; speed is that of
    optical flow, pixels of the crop per frame, mean over each cell. Of the middle window, for a picture: clip (T, size,
    size, 3) uint8, and its speed pixel by pixel, (T - 1, size, size) float32. Of the shape of energy, where they were
    asked for: cam, the activation of the video's class, and cover, how much of each cell the mover's mask covers.
    """

    video_id: str
    energy: np.ndarray
    speed: np.ndarray
    clip: np.ndarray
    clip_speed: np.ndarray
    cam: np.ndarray | None = None
    cover: np.ndarray | None = None

    @property
    def middle(self) -> int:
        """Give the number of the middle window among those that were looked at."""
        return len(self.energy) // 2


def energy(maps: Tensor) -> Tensor:
    """Sum the squares over channels of a backbone's output (N, C, T', H', W'): (N, T', H', W') float32."""
    return maps.float().square().sum(dim=1)


def speed_map(stored: Tensor, size: int) -> Tensor:
    """Compute the speed of each pixel of the centre crop of a stored window (T, H, W, 3) uint8: (T - 1, size, size)
    float32.

    Flow is found on the whole frames and then cropped, so that what moves into the crop is followed. It is in pixels of
    the crop per frame; what is below STILL_SPEED is 0.
    """
    found = torch.from_numpy(np.stack(list(speeds(stored.numpy()))))
    found[found < STILL_SPEED] = 0
    cropped = fixed_crop(found[None, None], size, CENTRE)[0, 0]
    return cropped * (size / round(min(stored.shape[1:3]) * CROP_SHARE))


@torch.no_grad()
def video_saliency(
    cache: Cache,
    windows: StoredWindows,
    row: int,
    backbone: nn.Module,
    view: View,
    device: torch.device,
    classified: ClassifiedRows | None = None,
    masks: MoverMasks | None = None,
) -> VideoSaliency:
    """Compute energy and speed of up to MAX_WINDOWS windows of a row, whose crops are the centre.

    backbone: on the device, in evaluation mode. classified: gives the activation of the row's class, too. masks: give
    what of the row moves. Raises UserError for frames and masks that cannot be read, and where a map is of one cell.
    """
    crops = WindowCrops(view).to(device)
    first, stop = (int(n) for n in windows.offsets[row : row + 2])
    chosen = np.unique(np.linspace(first, stop - 1, MAX_WINDOWS).round().astype(int))
    numbers = view.rule.windows(int(cache.index["frames"].iloc[row]))
    middle = len(chosen) // 2
    found: dict[str, list[Tensor]] = {"energy": [], "speed": [], "cam": [], "cover": []}
    for number, item in enumerate(chosen):
        stored = windows[int(item)]
        output = backbone(crops(stored[None].to(device), 0, 0))
        cells = output.shape[2:]
        found["energy"].append(energy(output)[0].cpu())
        speed = speed_map(stored, view.size)
        found["speed"].append(functional.adaptive_avg_pool3d(speed[None], cells)[0])
        if classified:
            found["cam"].append(classified.activation(output, row)[0].cpu())
        if masks:
            cover = fixed_crop(masks.of_frames(row, numbers[item - first])[None, None], view.size, CENTRE)
            found["cover"].append(functional.adaptive_avg_pool3d(cover[0], cells)[0])
        if number == middle:
            clip, clip_speed = _centre_frames(stored, view.size), speed.numpy()
    if found["energy"][0][0].numel() == 1:
        raise UserError(f"at {view.size} pixels the backbone's map has a single cell: take a larger --size")
    video = str(cache.index["video_id"].iloc[row])
    arrays = {name: torch.stack(maps).numpy() for name, maps in found.items() if maps}
    return VideoSaliency(video, clip=clip, clip_speed=clip_speed, **arrays)


def _centre_frames(stored: Tensor, size: int) -> np.ndarray:
    """Cut the centre crop of a stored window (T, H, W, 3) uint8 for people: (T, size, size, 3) uint8."""
    video = fixed_crop(stored.permute(3, 0, 1, 2)[None].float(), size, CENTRE)[0]
    return video.round().clamp(0, 255).byte().permute(1, 2, 3, 0).numpy()


def correlations(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation over the places of each map (..., H', W') with that of others: (...,) float64.

    NaN where one of the two is the same everywhere: nothing moves, or everything moves alike.
    """
    a, b = (values.reshape(*values.shape[:-2], -1).astype(np.float64) for values in (maps, others))
    flat = (np.ptp(a, axis=-1) == 0) | (np.ptp(b, axis=-1) == 0)
    a, b = (values - values.mean(axis=-1, keepdims=True) for values in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(flat, np.nan, found)


def own_flow_correlation(saliency: VideoSaliency, maps: str = "energy") -> float:
    """Average the correlations of a video's maps (`energy` or `cam`) with their own flow; NaN where none has one."""
    return _mean(correlations(getattr(saliency, maps), saliency.speed))


def other_flow_correlation(saliency: VideoSaliency, saliencies: list[VideoSaliency], maps: str = "energy") -> float:
    """Average, as a control, the correlations of a video's maps with the flow of every other video, by window.

    Where the other has more windows or fewer, those at the same share of its length count. NaN where there is none.
    """
    own = getattr(saliency, maps)
    found = [
        _mean(correlations(own, _matched_windows(other.speed, len(own))))
        for other in saliencies
        if other is not saliency
    ]
    return _mean(np.array(found))


def own_mask_share(saliency: VideoSaliency, maps: str = "energy") -> float:
    """Compute the share of a video's maps that lies on its mover's mask; maps: `energy`, `cam`, or `area`, which is the
    mask's share of the area."""
    assert saliency.cover is not None
    return share_on_mask(_maps(saliency, maps), saliency.cover)


def other_mask_share(saliency: VideoSaliency, saliencies: list[VideoSaliency], maps: str = "energy") -> float:
    """Average, as a control, the shares of a video's maps that lie on the mask of every other video, by window."""
    own = _maps(saliency, maps)
    covers = [other.cover for other in saliencies if other is not saliency and other.cover is not None]
    return _mean(np.array([share_on_mask(own, _matched_windows(cover, len(own))) for cover in covers]))


def _maps(saliency: VideoSaliency, name: str) -> np.ndarray:
    """Return maps by name, (W, T', H', W'). A class activation map is defined up to a constant: the least value of each
    window becomes 0, as in Zhou et al.'s published code."""
    if name == "area":
        return np.ones_like(saliency.energy)
    maps = np.asarray(getattr(saliency, name))
    return maps - maps.min(axis=(1, 2, 3), keepdims=True) if name == "cam" else maps


def _matched_windows(maps: np.ndarray, windows: int) -> np.ndarray:
    """Choose so many windows of maps (W, …), those at the same share of their number."""
    return maps[np.linspace(0, len(maps) - 1, windows).round().astype(int)]


def _mean(values: np.ndarray) -> float:
    """Average the values that are there; NaN where none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")

"""Where a backbone looks: the energy of its last convolution, compared with optical flow (paper, Fig. 7).

The energy of a place is the sum of squares over the channels of the backbone's output there. The paper names the CAM
technique, which weights the channels by a class's weights in the classifier; a pre-trained backbone has none.

Maps are compared at their own resolution, 4x4 for R3D-18 at 112x112. Convolutions with padding give the border less
energy whatever is shown, and what moves is seldom at the border. So every correlation is given together with that of
the same map with the flow of other videos.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.eval.analyses.optical_flow import STILL_SPEED, speeds
from s2vc.eval.view import CROP_SHARE, StoredWindows, View, WindowCrops, fixed_crop
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache

MAX_WINDOWS = 4
"""So many windows of a video are looked at, evenly spaced, so that long videos take no longer."""

CENTRE_CROP = 4
"""The centre has this place among the crops of `s2vc.eval.view.fixed_crop`."""


@dataclass(frozen=True)
class VideoSaliency:
    """Holds what was seen of a video.

    energy, speed: of W windows at the resolution of the backbone's output, (W, T', H', W') float32; speed is that of
    optical flow, pixels of the crop per frame, mean over each cell. Of the middle window, for a picture: clip (T, size,
    size, 3) uint8, and its speed pixel by pixel, (T - 1, size, size) float32.
    """

    video_id: str
    energy: np.ndarray
    speed: np.ndarray
    clip: np.ndarray
    clip_speed: np.ndarray

    @property
    def middle(self) -> int:
        """Give the number of the middle window among those that were looked at."""
        return len(self.energy) // 2


@torch.no_grad()
def energy(backbone: nn.Module, clips: Tensor) -> Tensor:
    """Sum the squares over channels of a backbone's output (N, C, T', H', W'): (N, T', H', W') float32."""
    return backbone(clips).float().square().sum(dim=1)


def speed_map(stored: Tensor, size: int) -> Tensor:
    """Compute the speed of each pixel of the centre crop of a stored window (T, H, W, 3) uint8: (T - 1, size, size)
    float32.

    Flow is found on the whole frames and then cropped, so that what moves into the crop is followed. It is in pixels of
    the crop per frame; what is below STILL_SPEED is 0.
    """
    found = torch.from_numpy(np.stack(list(speeds(stored.numpy()))))
    found[found < STILL_SPEED] = 0
    cropped = fixed_crop(found[None, None], size, CENTRE_CROP)[0, 0]
    return cropped * (size / round(min(stored.shape[1:3]) * CROP_SHARE))


def video_saliency(
    cache: Cache, windows: StoredWindows, row: int, backbone: nn.Module, view: View, device: torch.device
) -> VideoSaliency:
    """Compute energy and speed of up to MAX_WINDOWS windows of a row, whose crops are the centre.

    backbone: on the device, in evaluation mode. Raises UserError for frames that cannot be read, and where a map is of
    one cell.
    """
    crops = WindowCrops(view).to(device)
    first, stop = (int(n) for n in windows.offsets[row : row + 2])
    chosen = np.unique(np.linspace(first, stop - 1, MAX_WINDOWS).round().astype(int))
    middle, maps, flows = len(chosen) // 2, [], []
    for number, item in enumerate(chosen):
        stored = windows[int(item)]
        maps.append(energy(backbone, crops(stored[None].to(device), 0, 0))[0].cpu())
        speed = speed_map(stored, view.size)
        times, height, width = maps[-1].shape
        flows.append(functional.adaptive_avg_pool3d(speed[None], (times, height, width))[0])
        if number == middle:
            clip, clip_speed = _centre_frames(stored, view.size), speed.numpy()
    if maps[0][0].numel() == 1:
        raise UserError(f"at {view.size} pixels the backbone's map has a single cell: take a larger --size")
    video = str(cache.index["video_id"].iloc[row])
    return VideoSaliency(video, torch.stack(maps).numpy(), torch.stack(flows).numpy(), clip, clip_speed)


def _centre_frames(stored: Tensor, size: int) -> np.ndarray:
    """Cut the centre crop of a stored window (T, H, W, 3) uint8 for people: (T, size, size, 3) uint8."""
    video = fixed_crop(stored.permute(3, 0, 1, 2)[None].float(), size, CENTRE_CROP)[0]
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


def own_flow_correlation(saliency: VideoSaliency) -> float:
    """Average the correlations of a video's energy maps with their own flow; NaN where none has one."""
    return _mean(correlations(saliency.energy, saliency.speed))


def other_flow_correlation(saliency: VideoSaliency, saliencies: list[VideoSaliency]) -> float:
    """Average, as a control, the correlations of a video's energy maps with the flow of every other video, by window.

    Where the other has more windows or fewer, those at the same share of its length count. NaN where there is none.
    """
    found = []
    for other in saliencies:
        if other is not saliency:
            places = np.linspace(0, len(other.speed) - 1, len(saliency.energy)).round().astype(int)
            found.append(_mean(correlations(saliency.energy, other.speed[places])))
    return _mean(np.array(found))


def _mean(values: np.ndarray) -> float:
    """Average the values that are there; NaN where none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")

"""How much of a video shows people: the share of its frames inside the boxes of a detector (supplement, Fig. 1)."""

import cv2
import numpy as np

from s2vc.eval.analyses.person_detectors import Detector
from s2vc.eval.analyses.share_figure import ShareExample, choose_places
from s2vc.eval.videos import damage_reported
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.reporting import Advance

BOX_COLOUR = (40, 255, 40)


def covered(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mark the pixels whose centre is in one box or more: (height, width) bool. boxes: (N, 4), left, top, right,
    bottom."""
    mask = np.zeros((height, width), bool)
    limits = np.array([width, height, width, height])
    for left, top, right, bottom in np.rint(boxes.clip(0, limits)).astype(int):
        mask[top:bottom, left:right] = True
    return mask


def people_shares(
    cache: Cache, rows: np.ndarray, detector: Detector, every: int, advance: Advance
) -> tuple[np.ndarray, np.ndarray]:
    """Compute for each row of the index the share of the frame inside boxes, the mean over one frame of `every`, and
    the share of frames with a box: (N,) float64 each. Raises UserError for frames that cannot be read."""
    shares, seen = np.empty(len(rows)), np.empty(len(rows))
    height, width = cache.settings.frame_size
    for number, row in enumerate(rows):
        video, frames = str(cache.index["video_id"].iloc[row]), int(cache.index["frames"].iloc[row])
        found = []
        for at in range(0, frames, every):
            with damage_reported(cache, video):
                (frame,) = cache.frames(video, at, at + 1)
            found.append(covered(detector.find(frame), height, width).mean())
        shares[number], seen[number] = np.mean(found), np.mean(np.array(found) > 0)
        advance(1, len(found))
    return shares, seen


def people_examples(cache: Cache, rows: np.ndarray, shares: np.ndarray, detector: Detector) -> list[ShareExample]:
    """Show the videos at some quantiles of the shares, with the boxes in their middle frame."""
    found = []
    for place in choose_places(shares):
        video = str(cache.index["video_id"].iloc[rows[place]])
        middle = (int(cache.index["frames"].iloc[rows[place]]) - 1) // 2
        with damage_reported(cache, video):
            (frame,) = cache.frames(video, middle, middle + 1)
        boxes, marked = detector.find(frame), frame.copy()
        for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
            cv2.rectangle(marked, (left, top), (right - 1, bottom - 1), BOX_COLOUR, 1)
        share = float(covered(boxes, *frame.shape[:2]).mean())
        found.append(ShareExample(video, frame, marked, float(shares[place]), share))
    return found

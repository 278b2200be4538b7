"""Finding people in a frame: a YOLO of the user's, as an ONNX file, or the HOG detector that OpenCV brings.

The paper finds people by YOLOv5 (supplement, Fig. 1). Its weights are not ours to bring, and any file that
`export.py --include onnx` of YOLOv5, or `yolo export format=onnx` of its successors, writes will do. The HOG detector
(Dalal and Triggs 2005) knows people who stand or walk, seen whole; it misses most others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s2vc.eval.analyses.onnx_input import picture_size
from s2vc.eval.defaults import YOLO_CONFIDENCE, YOLO_OVERLAP, YOLO_SIZE
from s2vc.manifests.errors import UserError

YOLO_GREY = 114
"""A frame becomes a square of YOLO_SIZE pixels, the rest of which has this grey value, as in YOLOv5."""

PERSON = 0
"""COCO's first class, which the published weights tell first, is a person."""

END_TO_END_ROWS = 1000
"""A network that suppresses overlaps itself gives at most so many boxes, six numbers each; YOLOv5 of a single class has
six numbers, too, and gives 25,200 boxes of 640 pixels."""

HOG_HEIGHT = 384
"""Frames are enlarged to this height for HOG, whose people are 96 pixels high or more: a quarter of the frame."""
HOG_MARGIN = 0.3
"""A window counts as a person's from this distance on, on the far side of the support vector machine's plane. Of 30
real frames (128x171) with two people each, people are found in 15, at 0 as at 0.3, and in 13 at 0.6; of 48 drawn frames
without people, in 3, 2 and 1."""
HOG_INSET = (0.1, 0.07, 0.8, 0.8)
"""HOG's windows are larger than the people in them: x, y, width and height of a person in shares of the window, as in
OpenCV's example peopledetect."""


@dataclass(frozen=True)
class Detector:
    """Finds people. find: frame (H, W, 3) uint8 RGB -> boxes (N, 4) float64, left, top, right, bottom in its pixels,
    which may reach beyond it. name: for people."""

    name: str
    find: Callable[[np.ndarray], np.ndarray]


def hog_detector() -> Detector:
    """Make OpenCV's own detector. Raises UserError where this OpenCV has none."""
    descriptor: Any = getattr(cv2, "HOGDescriptor", None)
    if descriptor is None:
        raise UserError(
            f"this OpenCV ({cv2.__version__}) has no HOG detector, which from 5.0 on is in "
            "opencv-contrib-python-headless: install that in place of opencv-python-headless, or give a YOLO's ONNX "
            "file by --detector"
        )
    hog = descriptor()
    hog.setSVMDetector(descriptor.getDefaultPeopleDetector())

    def find(frame: np.ndarray) -> np.ndarray:
        scale = HOG_HEIGHT / frame.shape[0]
        large = cv2.resize(frame, (round(frame.shape[1] * scale), HOG_HEIGHT), interpolation=cv2.INTER_CUBIC)
        found, margins = hog.detectMultiScale(
            cv2.cvtColor(large, cv2.COLOR_RGB2BGR), hitThreshold=0, winStride=(8, 8), padding=(16, 16), scale=1.05
        )
        windows = np.asarray(found, np.float64).reshape(-1, 4)[np.ravel(margins) >= HOG_MARGIN]
        x, y, width, height = HOG_INSET
        corner = windows[:, :2] + windows[:, 2:] * (x, y)
        return np.hstack([corner, corner + windows[:, 2:] * (width, height)]) / scale

    return Detector("HOG", find)


def yolo_detector(path: Path, size: int | None = None, confidence: float = YOLO_CONFIDENCE) -> Detector:
    """Open a YOLO from an ONNX file. size: side of the square that it is given; None takes the file's, or YOLO_SIZE for
    a network that takes any. Raises UserError for a file that is no such network, or takes pictures of another size."""
    try:
        own = picture_size(path)
        net = cv2.dnn.readNetFromONNX(str(path))
    except (OSError, ValueError, cv2.error) as error:
        raise UserError(f"{path} is no ONNX file that OpenCV reads: {_one_line(error)}") from None
    size = size or (own[1] if own else YOLO_SIZE)
    if own and own != (size, size):
        raise UserError(f"{path} takes pictures of {own[0]}x{own[1]} pixels, not squares of {size}")

    def find(frame: np.ndarray) -> np.ndarray:
        square, scale = _letterbox(frame, size)
        net.setInput(cv2.dnn.blobFromImage(square, 1 / 255))
        return decode_yolo(np.asarray(net.forward()), confidence) / scale

    try:
        find(np.zeros((size, size, 3), np.uint8))
    except (cv2.error, ValueError) as error:
        raise UserError(f"{path} is no YOLO for squares of {size} pixels: {_one_line(error)}") from None
    return Detector(path.stem, find)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _letterbox(frame: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """Put a frame, resized, into the upper left of a square (size, size, 3) uint8; and the factor of the resizing."""
    scale = size / max(frame.shape[:2])
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    square = np.full((size, size, 3), YOLO_GREY, np.uint8)
    square[:height, :width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return square, scale


def decode_yolo(output: np.ndarray, confidence: float) -> np.ndarray:
    """Read the people out of a network's output: boxes (N, 4) float64, left, top, right, bottom in its square's pixels.

    output: one of (1, N, 5 + classes) with centre, size, objectness and the scores of classes (YOLOv5 and v7),
    (1, 4 + classes, N) without objectness (v8, v9, v11), or (1, N, 6) with corners, confidence and class, overlaps
    suppressed already (v10). Raises ValueError for any other shape.
    """
    found = output[0] if output.ndim == 3 and output.shape[0] == 1 else output
    if found.ndim != 2 or min(found.shape) < 5:
        raise ValueError(f"its output has the shape {output.shape}, which is none of YOLO's")
    if found.shape[1] == 6 and len(found) <= END_TO_END_ROWS:
        people = found[(found[:, 4] >= confidence) & (found[:, 5].round() == PERSON)]
        return people[:, :4].astype(np.float64)
    if found.shape[0] < found.shape[1]:
        found = found.T
        scores = found[:, 4 + PERSON]
    elif found.shape[1] > 5:
        scores = found[:, 4] * found[:, 5 + PERSON]
    else:
        raise ValueError(f"its output has the shape {output.shape}, which is none of YOLO's")
    centre, sides = found[:, :2].astype(np.float64), found[:, 2:4].astype(np.float64)
    boxes = np.hstack([centre - sides / 2, sides])
    kept = np.array(cv2.dnn.NMSBoxes(boxes.tolist(), scores.astype(float).tolist(), confidence, YOLO_OVERLAP), np.int64)
    chosen = boxes[kept.ravel()]
    return np.hstack([chosen[:, :2], chosen[:, :2] + chosen[:, 2:]])

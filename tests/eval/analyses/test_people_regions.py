"""Boxes of networks whose outputs are known, ONNX files through OpenCV, the HOG detector on people, the command."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from s2vc.eval.analyses.people_regions import covered, people_examples, people_shares
from s2vc.eval.analyses.person_detectors import Detector, decode_yolo, hog_detector, yolo_detector
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.reporting import no_progress
from tests.eval.conftest import Evaluate
from tests.support.onnx_model import write_red_finder

SIZE = 160


def test_what_two_boxes_cover_counts_once() -> None:
    boxes = np.array([[10, 10, 30, 20], [20, 15, 40, 25], [-5, 90, 3, 200]], float)
    expected = 20 * 10 + 20 * 10 - 10 * 5 + 3 * 10
    assert covered(boxes, 100, 120).sum() == expected
    assert covered(np.zeros((0, 4)), 8, 8).sum() == 0


def raw_output(rows: int = 200) -> np.ndarray:
    """What three people give in the form of YOLOv8: two boxes of one of them, another, one too doubtful, and a dog."""
    found = np.zeros((4 + 80, rows), np.float32)
    found[:4, 0], found[4, 0] = (100, 100, 40, 80), 0.9
    found[:4, 1], found[4, 1] = (102, 101, 40, 80), 0.8
    found[:4, 2], found[4, 2] = (300, 120, 20, 60), 0.6
    found[:4, 3], found[4, 3] = (500, 300, 20, 60), 0.2
    found[:4, 4], found[4 + 16, 4] = (400, 300, 20, 60), 0.95
    return found[None]


PEOPLE = [[80, 60, 120, 140], [290, 90, 310, 150]]


def test_outputs_of_all_yolos_are_read() -> None:
    eight = raw_output()
    np.testing.assert_allclose(decode_yolo(eight, 0.25), PEOPLE, atol=1e-4)
    # YOLOv5 has one box a row, and an objectness by which the classes' scores are multiplied.
    five = np.insert(np.swapaxes(eight, 1, 2), 4, 1, axis=2)
    np.testing.assert_allclose(decode_yolo(five, 0.25), PEOPLE, atol=1e-4)
    five[0, 2, 4] = 0.3  # 0.6 * 0.3 is too little
    np.testing.assert_allclose(decode_yolo(five, 0.25), PEOPLE[:1], atol=1e-4)
    # YOLOv10 suppresses overlaps itself.
    ten = np.zeros((1, 300, 6), np.float32)
    ten[0, :4] = [[*PEOPLE[0], 0.9, 0], [*PEOPLE[1], 0.6, 0], [1, 1, 9, 9, 0.2, 0], [5, 5, 50, 50, 0.9, 16]]
    np.testing.assert_allclose(decode_yolo(ten, 0.25), PEOPLE, atol=1e-4)
    assert len(decode_yolo(eight, 0.95)) == 0
    for shape in ((1, 1000), (1, 3, 20, 20, 85), (1, 4, 8400)):
        with pytest.raises(ValueError, match="none of YOLO's"):
            decode_yolo(np.zeros(shape, np.float32), 0.25)


@pytest.mark.parametrize("version", [5, 8])
def test_an_onnx_file_finds_what_is_red_where_it_is(version: int, tmp_path: Path) -> None:
    write_red_finder(tmp_path / "red.onnx", SIZE, version)
    found = yolo_detector(tmp_path / "red.onnx")
    frame = np.full((60, 80, 3), 128, np.uint8)  # enlarged to 120 x 160: its pixels are two of the square
    frame[20:36, 40:48] = (255, 0, 0)
    boxes = found.find(frame)
    assert boxes[:, :2].min(axis=0).tolist() == [40, 20] and boxes[:, 2:].max(axis=0).tolist() == [48, 36]
    np.testing.assert_array_equal(covered(boxes, 60, 80), frame[..., 0] == 255)
    assert len(found.find(frame[..., ::-1])) == 0  # what is blue is not found: colours are in their order


def test_files_that_are_no_detector_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match="no ONNX file"):
        yolo_detector(tmp_path / "text.onnx")
    write_red_finder(tmp_path / "cut.onnx", SIZE, 5)
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "cut.onnx").read_bytes()[:-300])
    with pytest.raises(UserError, match="no ONNX file"):
        yolo_detector(tmp_path / "cut.onnx")
    write_red_finder(tmp_path / "red.onnx", SIZE, 5)
    with pytest.raises(UserError, match="takes pictures of 160x160 pixels, not squares of 640"):
        yolo_detector(tmp_path / "red.onnx", 640)  # OpenCV would give wrong boxes for it


def test_shares_are_means_over_frames(labelled_cache: Path) -> None:
    cache, rows = Cache(labelled_cache), np.array([1, 7])
    boxes = [np.array([[0, 0, 8, 16]]), np.zeros((0, 4)), np.array([[0, 0, 80, 64]])]
    calls: list[np.ndarray] = []

    def find(frame: np.ndarray) -> np.ndarray:
        calls.append(frame)
        return boxes[(len(calls) - 1) % 3]

    with no_progress(2) as advance:
        shares, seen = people_shares(cache, rows, Detector("by turns", find), 7, advance)
    assert len(calls) == 6  # frames 0, 7 and 14 of 20, of two videos
    np.testing.assert_array_equal(calls[4], cache.frames(str(cache.index["video_id"].iloc[7]))[7])
    assert shares == pytest.approx([(8 * 16 / 5120 + 0 + 1) / 3] * 2) and seen == pytest.approx([2 / 3] * 2)
    (shown, _) = people_examples(cache, rows, np.array([0.2, 0.1]), Detector("one", lambda frame: boxes[0]))
    assert (shown.video_id, shown.frame_share) == ("12.mp4", 8 * 16 / 5120)
    drawn = np.flatnonzero((shown.marked != shown.frame).any(axis=2).any(axis=1))
    assert (drawn.min(), drawn.max()) == (0, 15)


def test_the_command_writes_numbers_and_a_figure(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    write_red_finder(tmp_path / "red.onnx", SIZE, 5)
    few = ["--detector", tmp_path / "red.onnx", "--every", 9, "--out", tmp_path / "out"]
    result = evaluate("people", labelled_cache, *few)
    assert result.exit_code == 0, result.output
    path = next((tmp_path / "out").glob("people-*.json"))
    numbers = json.loads(path.read_text())
    # Class c0 is red all over, c1 is blue. The square of a frame of 64 x 80 is 128 x 160, without grey in it.
    assert numbers["per_class"]["c0"] > 0.95 and numbers["per_class"]["c1"] == 0
    assert numbers["people"] == pytest.approx(np.mean(list(numbers["per_video"].values())))
    assert numbers["frames_with_people"] == 0.5 and numbers["detector"] == "red"
    assert "less than 20%" in result.output
    assert Image.open(path.with_suffix(".png")).size[0] > 400
    wrong = evaluate("people", labelled_cache, "--detector", tmp_path / "nosuch.onnx", "--out", tmp_path / "none")
    assert wrong.exit_code == 2 and not (tmp_path / "none").exists()


def test_without_a_hog_detector_there_is_one_line(
    evaluate: Evaluate, labelled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cv2, "HOGDescriptor", raising=False)
    result = evaluate("people", labelled_cache, "--out", tmp_path)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("s2vc-eval: ")]
    assert "opencv-contrib-python-headless" in line and "--detector" in line


@pytest.mark.skipif(not hasattr(cv2, "HOGDescriptor"), reason="needs opencv-contrib-python-headless, for HOG")
def test_hog_finds_people_in_real_frames_of_the_stored_size(shared: Path) -> None:
    clip = shared / "data" / "interaction" / "0_handshake" / "set1_seq01_4_0.avi"
    if not clip.exists():
        pytest.skip("needs ../shared/data/interaction, real videos")
    video = cv2.VideoCapture(str(clip))
    frames = [video.read()[1][..., ::-1] for _ in range(100)][::20]
    stored = [cv2.resize(frame, (171, 128), interpolation=cv2.INTER_AREA) for frame in frames]
    hog = hog_detector()
    masks = [covered(hog.find(np.ascontiguousarray(frame)), 128, 171) for frame in stored]
    # Two people stand there, of about a tenth of the frame each, one in the left half and one in the right.
    assert 0.08 < np.mean(masks) < 0.35
    assert np.mean([mask[:, :85].any() and mask[:, 86:].any() for mask in masks]) >= 0.6
    noise = np.random.default_rng(0).integers(0, 256, (128, 171, 3)).astype(np.uint8)
    assert len(hog.find(noise)) == 0

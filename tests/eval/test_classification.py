"""Accuracies over videos and by class, and the confusion matrix, on hand-made scores."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from s2vc.eval.classification import Classification


def hand_made() -> Classification:
    """Seven classes. Of five videos: two of class 0 (one taken for 1), two of class 1, one of class 6 at rank six."""
    scores = np.full((5, 7), 0.1)
    scores[0, 0] = scores[2, 1] = scores[3, 1] = 0.9
    scores[1, 1], scores[1, 0] = 0.9, 0.8
    scores[4] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.4]
    return Classification(scores, np.array([0, 0, 1, 1, 6]), [f"c{n}" for n in range(7)])


def test_accuracies_count_videos_and_average_classes() -> None:
    numbers = hand_made().numbers
    assert numbers["top1"] == pytest.approx(3 / 5)
    assert numbers["top5"] == pytest.approx(4 / 5)  # class 6 is the sixth
    assert numbers["class_mean"] == pytest.approx((0.5 + 1 + 0) / 3)  # of classes with test videos


def test_top5_of_five_classes_is_left_out() -> None:
    assert "top5" not in Classification(np.eye(5), np.arange(5), list("abcde")).numbers


def test_the_matrix_has_classes_in_rows_and_what_they_were_taken_for_in_columns() -> None:
    result = hand_made()
    expected = np.zeros((7, 7), int)
    expected[0, 0] = expected[0, 1] = expected[6, 0] = 1
    expected[1, 1] = 2
    np.testing.assert_array_equal(result.confusion, expected)
    assert result.details["per_class"] == {"c0": 0.5, "c1": 1.0, "c6": 0.0, **{f"c{n}": None for n in range(2, 6)}}


@pytest.mark.parametrize("classes", [2, 7, 101])
def test_the_picture_is_one(tmp_path: Path, classes: int) -> None:
    names = [f"class {n}" for n in range(classes)]
    Classification(np.eye(classes), np.arange(classes), names).plot(tmp_path / "m.png", "title")
    assert Image.open(tmp_path / "m.png").size[0] > 300


def test_the_picture_has_the_numbers_of_videos(tmp_path: Path) -> None:
    # Each video twice: all shares, and so all colours, are the same, and only the numbers differ.
    scores, targets, names = np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2]), ["a", "b", "c"]
    for times in (1, 2):
        Classification(np.tile(scores, (times, 1)), np.tile(targets, times), names).plot(tmp_path / f"{times}.png", "t")
    once, twice = (np.asarray(Image.open(tmp_path / f"{times}.png").convert("RGB")) for times in (1, 2))
    assert once.shape == twice.shape
    # They differ in as many places as there are cells with videos, four, and nowhere else.
    _, places = ndimage.label(ndimage.binary_dilation((once != twice).any(axis=2), iterations=8))
    assert places == 4

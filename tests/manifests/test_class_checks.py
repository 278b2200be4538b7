"""Classes that make no sense are told where the manifest is written, not by an accuracy of 0 %."""

import pytest

from s2vc.manifests.class_checks import class_warnings
from s2vc.manifests.table import build_table


def warnings(labels: list[str], split: list[str]) -> list[str]:
    ids = [f"{n}.mp4" for n in range(len(labels))]
    return class_warnings(build_table({"video_id": ids, "label": labels, "split1": split}))


ROLES = ["train", "train", "test", "test"]


@pytest.mark.parametrize(
    ("labels", "split"),
    [
        (["0", "1", "0", "1"], ROLES),
        ([""] * 4, ROLES),
        (["0", "1", "1", "5"], ["train"] * 4),
        (["0", "1", "", "1"], ROLES),
    ],
)
def test_sensible_classes_are_no_reason_to_warn(labels: list[str], split: list[str]) -> None:
    assert warnings(labels, split) == []


def test_numbers_of_frames_are_no_labels() -> None:
    assert warnings(["99", "163", "99", "163"], ROLES) == [
        "warning: labels go up to 163, but there are 2: are they numbers of frames? "
        "(s2vc-prep manifest lists --columns says the order of a list)"
    ]


def test_test_videos_of_classes_that_training_has_not_are_told() -> None:
    assert warnings(["0", "1", "2", "3"], ROLES) == [
        "warning: no class of split1's test videos has a training video, so that nothing can be recognised"
    ]
    assert warnings(["0", "1", "1", "2"], ROLES) == [
        "warning: 1 of 2 classes of split1's test videos have no training video (2)"
    ]

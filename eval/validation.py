"""Validation videos: some of the training videos are set aside, so that what is chosen is not chosen on test videos.

The videos that one recording was cut into look alike, so that a recording is set aside as a whole.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from s2vc.eval.labelled import LabelledRows
from s2vc.manifests.errors import UserError

VALIDATION_SHARE = 0.2
"""Of the recordings of each class, this share is set aside."""

_UCF101 = re.compile(r"(?P<recording>v_.+_g\d+)_c\d+")
_HMDB51 = re.compile(r"(?P<recording>.+)_[fhlu]_(cm|nm)_np\d+_(ba|fr|le|ri)_(bad|goo|med)_\d+")


def recording_of(video_id: str) -> str:
    """Name the recording that a video was cut from, as the file names of UCF101 (v_Class_g01_c01) and of HMDB51
    (SOURCE_class_u_cm_np1_fr_med_0) tell it; any other video is a recording by itself."""
    name = video_id.rpartition("/")[2].rpartition(".")[0] or video_id
    match = _UCF101.fullmatch(name) or _HMDB51.fullmatch(name)
    return match["recording"] if match else video_id


def validation_flags(
    video_ids: Sequence[str], classes: Sequence[object], seed: int = 0, share: float = VALIDATION_SHARE
) -> np.ndarray:
    """Say of each training video whether it is set aside for validation: (N,) bool.

    Of each class, `share` of its recordings, rounded, but one at least, go as a whole; the only recording of a class
    stays. What is drawn depends on the seed and on the recordings of the class, not on the order of the videos.
    """
    recordings: dict[object, dict[str, list[int]]] = {}
    for row, (video, name) in enumerate(zip(video_ids, classes, strict=True)):
        recordings.setdefault(name, {}).setdefault(recording_of(video), []).append(row)
    flags = np.zeros(len(video_ids), bool)
    for by_recording in recordings.values():
        drawn = sorted(by_recording, key=lambda recording: _rank(seed, recording))
        count = min(max(1, round(share * len(drawn))), len(drawn) - 1)
        for recording in drawn[:count]:
            flags[by_recording[recording]] = True
    return flags


def cut_validation(
    trained: LabelledRows, seed: int = 0, share: float = VALIDATION_SHARE
) -> tuple[LabelledRows, LabelledRows]:
    """Cut training videos into those that stay and those for validation, by `validation_flags`.

    Raises UserError where every class has a single recording, so that none can be set aside.
    """
    ids = trained.cache.index["video_id"].to_numpy()[trained.rows].tolist()
    flags = validation_flags(ids, trained.labels.tolist(), seed, share)
    if not flags.any():
        raise UserError("no training video can be set aside for validation: each class has a single recording")
    kept, held_out = (
        replace(trained, rows=trained.rows[chosen], labels=trained.labels[chosen]) for chosen in (~flags, flags)
    )
    return kept, held_out


class BestEpoch:
    """Keeps the weights of the epoch that is best on validation videos, the first one of equals.

    score: gives the share of validation videos that a classifier recognises.
    """

    def __init__(self, score: Callable[[nn.Module], float]):
        self._score = score
        self.epoch, self.share = 0, -1.0
        self.weights: dict[str, Tensor] = {}

    def __call__(self, classifier: nn.Module, epoch: int) -> None:
        """Look at a classifier, in evaluation mode, after so many epochs."""
        share = self._score(classifier)
        if share > self.share:
            self.epoch, self.share = epoch, share
            self.weights = {name: value.detach().clone() for name, value in classifier.state_dict().items()}


def _rank(seed: int, recording: str) -> bytes:
    return hashlib.sha256(f"{seed}/{recording}".encode("utf-8", "surrogateescape")).digest()

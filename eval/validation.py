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
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.index import further_columns

VALIDATION_SHARE = 0.2
"""Of the recordings of each class, this share is set aside."""

_NAMES = (
    re.compile(r"(?P<recording>v_.+_g\d+)_c\d+"),  # UCF101
    re.compile(r"(?P<recording>.+)_[fhlu]_(cm|nm)_np\d+_(ba|fr|le|ri)_(bad|goo|med)_\d+"),  # HMDB51
    re.compile(r"(?P<recording>[\w-]{11})_\d{6}_\d{6}"),  # Kinetics
)


def recording_of(video_id: str) -> str | None:
    """Name the recording that a video was cut from, as the file names of UCF101 (v_Class_g01_c01), of HMDB51
    (SOURCE_class_u_cm_np1_fr_med_0) and of Kinetics (YouTube's id_000001_000011) tell it; None where the name is of
    another kind."""
    file = video_id.rpartition("/")[2]
    name = file.rpartition(".")[0] or file
    return next((match["recording"] for pattern in _NAMES if (match := pattern.fullmatch(name))), None)


def recordings_of(trained: LabelledRows, group: str | None = None) -> list[str | None]:
    """Name the recording of each training video, as the column `group` says it, or where none is asked for as the
    video's name does; None where that says nothing. Raises UserError for a column that the cache does not have."""
    index = trained.cache.index
    if group is None:
        return [recording_of(video) for video in index["video_id"].to_numpy()[trained.rows].tolist()]
    check_group(trained.cache, group)
    return [value or None for value in index[group].to_numpy(dtype=object)[trained.rows].tolist()]


def check_group(cache: Cache, group: str) -> None:
    """Raise UserError where a cache has no such column."""
    if group not in (known := further_columns(cache.index)):
        raise UserError(
            f"{cache.storage} has no column {group!r} of groups; it has {', '.join(known) or 'none'} "
            "(a column that the manifest got later comes with `s2vc-prep encode`)"
        )


def unknown_recordings_note(trained: LabelledRows, group: str | None = None) -> str:
    """Say in a line of how many training videos nothing tells the recording, and what to do; empty where there are
    none."""
    found = recordings_of(trained, group)
    if not (unknown := sum(recording is None for recording in found)):
        return ""
    untold = f"column {group} is empty for" if group else "no recording can be told by the names of"
    return (
        f"{untold} {unknown:,} of {len(found):,} training videos: each counts as a recording by itself. Where several "
        "are cut from one, validation videos resemble what is trained on: "
        + ("fill the column" if group else "name the recordings in a column of the manifest, and it by --group COLUMN")
    )


def validation_flags(
    recordings: Sequence[str], classes: Sequence[object], seed: int = 0, share: float = VALIDATION_SHARE
) -> np.ndarray:
    """Say of each training video, by the name of its recording, whether it is set aside for validation: (N,) bool.

    Of each class, `share` of its recordings, rounded, but one at least, go as a whole; the only recording of a class
    stays. One that shows several classes goes where all of them may give one, so that a class may then give fewer. What
    is drawn depends on the seed and on the recordings, not on the order of the videos.
    """
    rows: dict[str, list[int]] = {}
    shown: dict[object, set[str]] = {}
    for row, (recording, name) in enumerate(zip(recordings, classes, strict=True)):
        rows.setdefault(recording, []).append(row)
        shown.setdefault(name, set()).add(recording)
    left = {name: min(max(1, round(share * len(found))), len(found) - 1) for name, found in shown.items()}
    flags = np.zeros(len(recordings), bool)
    for recording in sorted(rows, key=lambda recording: _rank(seed, recording)):
        of_it = {classes[row] for row in rows[recording]}
        if all(left[name] > 0 for name in of_it):
            flags[rows[recording]] = True
            left.update({name: left[name] - 1 for name in of_it})
    return flags


def cut_validation(
    trained: LabelledRows, group: str | None = None, seed: int = 0, share: float = VALIDATION_SHARE
) -> tuple[LabelledRows, LabelledRows]:
    """Cut training videos into those that stay and those for validation, by `validation_flags`.

    group: as in `recordings_of`; a video of which that tells nothing is a recording by itself. Raises UserError where
    no recording can be set aside.
    """
    ids = trained.cache.index["video_id"].to_numpy()[trained.rows].tolist()
    recordings = [told or video for told, video in zip(recordings_of(trained, group), ids, strict=True)]
    flags = validation_flags(recordings, trained.labels.tolist(), seed, share)
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


def selected_epoch_line(epoch: int, share: float) -> str:
    """Tell which epoch's weights are tested. share: of the validation videos that these recognise."""
    return f"epoch {epoch} is tested, which recognised most of the validation videos: {share:.1%}"


def _rank(seed: int, recording: str) -> bytes:
    return hashlib.sha256(f"{seed}/{recording}".encode("utf-8", "surrogateescape")).digest()

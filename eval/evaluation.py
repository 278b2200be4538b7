"""A checkpoint on a cache: its features, computed once, and where its results go."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from s2vc.eval.batch_statistics import set_batch_statistics
from s2vc.eval.defaults import NATURAL, TEST, VALIDATION
from s2vc.eval.evaluated_backbone import EvaluatedBackbone
from s2vc.eval.features import Features, extract_features, precision_of
from s2vc.eval.known_videos import refuse_videos_in_gallery, trained_on_note
from s2vc.eval.labelled import (
    LabelledRows,
    find_test_part,
    label_entry,
    labelled_rows,
    match_by_name,
    split_rows,
    unseen_classes,
)
from s2vc.eval.results import describe_result, save_result
from s2vc.eval.validation import cut_validation, unknown_recordings_note
from s2vc.eval.view import View
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.reporting import Advance
from s2vc.training.choices import LABEL, NORMALISATIONS, TRAIN
from s2vc.training.labels import read_labels
from s2vc.training.loader import readers_on, spare_cpus
from s2vc.training.selection import split_column


@dataclass(frozen=True)
class Evaluation:
    """Describes which checkpoint is evaluated on which cache, and how. test_split: the part of the split that is tested
    on, None for the one that `find_test_part` finds. tested: TEST for these videos, or VALIDATION for such as are cut
    from the training videos in their place (eval.validation). group: the column that tells recordings, None for their
    names. cpus: that it may use; None for all of the machine. device_name: of the device that computes; None for the
    GPU if there is one. learned_order: of the frames in the clips that the backbone learned from, as View has it."""

    cache: Cache
    checkpoint: str
    evaluated: EvaluatedBackbone
    split: str | None
    size: int
    frames: int
    frame_step: int
    seed: int
    out: Path
    console: Console
    label: str = LABEL
    test_split: str | None = None
    tested: str = TEST
    cpus: int | None = None
    device_name: str | None = None
    group: str | None = None
    learned_order: str = NATURAL

    @property
    def device(self) -> torch.device:
        """Choose the device that computes."""
        return choose_device(self.device_name)

    @property
    def readers(self) -> int:
        """Count the processes that read stored frames."""
        return spare_cpus() if self.cpus is None else readers_on(self.cpus)

    @property
    def backbone(self) -> nn.Module:
        """Give the backbone on the device, in evaluation mode, with statistics for its batch norm where it has none:
        those of training clips in the order of frames that it learned from."""
        backbone, view = self.evaluated.backbone, self.view(order=self.learned_order)
        set_batch_statistics(backbone, self.cache, self.split, view, self.device, self.readers)
        return backbone.to(self.device).eval()

    def view(self, **more: Any) -> View:
        """Build a view of the size and frames asked for. more: crops, draws, order, seed."""
        mean, std = self.evaluated.mean, self.evaluated.std
        return View(self.size, self.frames, self.frame_step, mean=mean, std=std, **more)

    def features(self, rows: np.ndarray, view: View, title: str = "features", cache: Cache | None = None) -> Features:
        """Compute the features of rows of the cache, or of another, with progress, where they are not at hand."""
        folder = self.out / "features"

        def show_progress(windows: int) -> AbstractContextManager[Advance]:
            return progress(title, windows, "windows", self.console)

        return extract_features(
            cache or self.cache, rows, self.backbone, view, folder, self.device, self.readers, show_progress
        )

    def labelled_parts(self, gallery: Cache | None = None) -> tuple[LabelledRows, LabelledRows]:
        """Select training and test videos, with their classes. Print a line where some test classes are in no training
        video, so that nobody can recognise them, and where the run was trained on test videos.

        gallery: another cache, whose training videos are taken, by the tested column where it has it, else by its
        first; classes are then matched by name. Raises UserError where that is not possible, and where tested videos
        are in the gallery.
        """
        if self.tested == VALIDATION:
            return self._parts_of_training(labelled_rows(self.cache, self.split, TRAIN, self.label))
        tested = labelled_rows(self.cache, self.split, self.find_test_part(self.label), self.label)
        self.warn_of_trained(tested.split, tested.part, tested.rows)
        if gallery:
            trained = self._gallery_rows(gallery, tested)
            tested, trained = match_by_name(tested, trained)
        else:
            trained = labelled_rows(self.cache, tested.split, TRAIN, self.label)
        classes, share = unseen_classes(trained, tested)
        if classes:
            self.console.print(
                f"warning: {classes} of {len(np.unique(tested.labels))} classes of the {tested.part} videos, with "
                f"{share:.1%} of these, have no training video: none of them can be recognised",
            )
        return trained, tested

    def split_parts(self) -> tuple[LabelledRows, LabelledRows]:
        """Select training and test videos of a task that needs no classes; those without one have the number -1."""
        numbers = read_labels(self.cache, self.label).numbers

        def part(name: str) -> LabelledRows:
            column, rows = split_rows(self.cache, self.split, name)
            return LabelledRows(self.cache, column, rows, numbers[rows], self.label, name)

        trained = part(TRAIN)
        if self.tested == VALIDATION:
            return self._parts_of_training(trained)
        tested = part(self.find_test_part())
        self.warn_of_trained(tested.split, tested.part, tested.rows)
        return trained, tested

    def warn_of_trained(self, split: str, part: str, rows: np.ndarray) -> None:
        """Print a line where the run was trained on videos that are tested, or may have been: rows (N,) of a part."""
        if note := trained_on_note(self.cache, self.evaluated.origin, split, part, rows):
            self.console.print(note)

    def cut_validation(self, trained: LabelledRows) -> tuple[LabelledRows, LabelledRows]:
        """Cut training videos into those that stay and those for validation, by whole recordings, and print a line
        where nothing tells the recording of some. Raises UserError where none can be set aside."""
        cut = cut_validation(trained, self.group)
        if note := unknown_recordings_note(trained, self.group):
            self.console.print(note)
        return cut

    def _gallery_rows(self, gallery: Cache, tested: LabelledRows) -> LabelledRows:
        """Select the training videos of another cache, and print a line where it does not have the tested column."""
        column = tested.split if tested.split in split_columns(gallery.index) else None
        trained = labelled_rows(gallery, column, TRAIN, self.label)
        if column is None:
            self.console.print(
                f"the gallery has no column {tested.split}: its training videos by column {trained.split} are taken"
            )
        refuse_videos_in_gallery(tested, trained)
        return trained

    def _parts_of_training(self, trained: LabelledRows) -> tuple[LabelledRows, LabelledRows]:
        """Cut validation videos from training videos; results name them as the part that is tested."""
        kept, held_out = self.cut_validation(trained)
        return kept, replace(held_out, part=VALIDATION)

    def find_test_part(self, label: str | None = None) -> str:
        """Give the part of the split that is tested on, and print a line where that is another than `test` and nobody
        asked for it. label: the column of the classes; None where none are looked at."""
        if self.test_split:
            return self.test_split
        part = find_test_part(self.cache, self.split, label)
        if part != TEST:
            column = split_column(self.cache, self.split)
            self.console.print(f"column {column} has no test videos: its {part} videos are tested")
        return part

    def save(
        self, task: str, split: str, numbers: dict[str, float], details: dict[str, Any] | None = None, **how: Any
    ) -> Path:
        """Save a result's JSON and its row of the table, with all that describes it. how: what is the task's own."""
        description = describe_result(
            task,
            self.cache,
            split,
            checkpoint=self.checkpoint,
            weights=self.evaluated.weights,
            backbone=self.evaluated.name,
            size=self.size,
            frames=self.frames,
            frame_step=self.frame_step,
            eval_seed=self.seed,
            precision=precision_of(self.device),
            **self.evaluated.origin,
            **label_entry(self.label),
            **({"group": self.group} if self.group else {}),
            **self._normalisation_entry(),
            **how,
        )
        return save_result(self.out, description, numbers, details)

    def _normalisation_entry(self) -> dict[str, list[float]]:
        """Give what the description of a result says of the channels: nothing where ImageNet's numbers are used."""
        mean, std = self.evaluated.mean, self.evaluated.std
        return {} if (mean, std) == NORMALISATIONS["imagenet"] else {"mean": list(mean), "std": list(std)}

"""How the trials of a sweep are evaluated: which tasks, on which videos, and by which videos an arm is chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from s2vc.eval.defaults import (
    ALL_SPLITS,
    BATCH,
    FINETUNE_EPOCHS,
    LINEAR_EPOCHS,
    LINEAR_RECIPES,
    PAPER,
    PROTOCOL_FIELDS,
    SWEEP_TASKS,
    TEST,
    TRAIN_VIEWS,
    VALIDATION,
)
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.labelled import find_test_part, labelled_rows, split_rows
from s2vc.eval.tasks import linear, order, retrieval
from s2vc.eval.validation import check_group, cut_validation, unknown_recordings_note
from s2vc.manifests.errors import UserError
from s2vc.manifests.table import split_columns
from s2vc.pipeline.cache import Cache
from s2vc.training.choices import ALL_ROWS, LABEL, TRAIN
from s2vc.training.prepare import PreparedRun

Numbers = dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """Says how trials are evaluated, in plain values, which travel to other machines.

    tasks: of TASKS. select: VALIDATION ranks the arms on videos cut from the training rows, and tests all of them as
    well; TEST tests alone. cache: where another cache lies whose videos are evaluated; "" for the one trained on.
    splits: its split columns. retrieval_frames: of a window; None for those of the clips that were trained on.
    retrieval_clips, per: as retrieval has them. classify_size, classify_frames: of the windows of linear and finetune;
    None for those of the clips that were trained on. train_views: as linear has it. group: column that tells the
    recordings that validation videos are cut by; None for their names.
    """

    tasks: tuple[str, ...]
    select: str = TEST
    cache: str = ""
    splits: tuple[str, ...] = ()
    retrieval_frames: int | None = None
    retrieval_clips: int | None = None
    per: str = "video"
    linear_epochs: int = LINEAR_EPOCHS
    finetune_epochs: int = FINETUNE_EPOCHS
    classify_size: int | None = None
    classify_frames: int | None = None
    train_views: int = TRAIN_VIEWS
    group: str | None = None

    @property
    def how(self) -> dict[str, Any]:
        """Give what must not change when a sweep is resumed, where it is not the default; tasks may be added."""
        names = ("cache", *PROTOCOL_FIELDS)
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Protocol, name)}

    def windows_of(self, task: str, size: int, clip_length: int) -> tuple[int, int]:
        """Give size and frames of the windows that a task looks at. size, clip_length: of the clips trained on."""
        if task in ("linear", "finetune"):
            return self.classify_size or size, self.classify_frames or clip_length
        return size, self.retrieval_frames or clip_length if task == "retrieval" else clip_length

    @property
    def parts(self) -> list["Part"]:
        """List what is evaluated of a trial, the videos that choose before those that are only reported."""
        several: Sequence[str | None] = self.splits if len(self.splits) > 1 else [None]
        kinds = [VALIDATION, TEST] if self.select == VALIDATION else [TEST]
        return [
            Part(task, tested, split)
            for split in several
            for task in self.tasks
            for tested in kinds
            if tested == TEST or task in RANKED
        ]


@dataclass(frozen=True)
class Part:
    """Names one evaluation of a trial. split: of another cache, where there are several; None for the one there is."""

    task: str
    tested: str
    split: str | None = None

    @property
    def name(self) -> str:
        """Name the task as columns of tables do: `retrieval`, and `retrieval-validation`."""
        return self.task if self.tested == TEST else f"{self.task}-{self.tested}"

    @property
    def key(self) -> str:
        """Name it as the numbers of a trial are kept."""
        return f"{self.split}: {self.name}" if self.split else self.name


def _finetune(evaluation: Evaluation, protocol: Protocol, train: Callable[[PreparedRun], bool]) -> Numbers:
    from s2vc.eval.cli.finetune_session import finetune

    return finetune(evaluation, protocol.finetune_epochs, BATCH, train)[1].numbers


def _linear(evaluation: Evaluation, protocol: Protocol, train: Callable[[PreparedRun], bool]) -> Numbers:
    recipe = replace(LINEAR_RECIPES[PAPER], epochs=protocol.linear_epochs)
    return linear(evaluation, recipe, protocol.train_views)[1].numbers


def _retrieval(evaluation: Evaluation, protocol: Protocol, train: Callable[[PreparedRun], bool]) -> Numbers:
    recall = retrieval(evaluation, per=protocol.per, clips=protocol.retrieval_clips)[1]
    return {f"recall@{k}": share for k, share in recall.items()}


def _order(evaluation: Evaluation, protocol: Protocol, train: Callable[[PreparedRun], bool]) -> Numbers:
    return order(evaluation, protocol.linear_epochs)[1].numbers


TASKS: dict[str, Callable[[Evaluation, Protocol, Callable[[PreparedRun], bool]], Numbers]] = dict(
    zip(SWEEP_TASKS, (_retrieval, _linear, _order, _finetune), strict=True)
)
"""`--eval` names these. Each gets how a prepared run is trained, which gives False where it was stopped."""

RANKED = ("retrieval", "linear", "order")
"""These have validation numbers. Fine-tuning learns from all training rows, so that none of them could judge it."""


WITHOUT_LABELS = "order"
"""This task asks whether frames are in their order, which takes no class."""


def training_splits(cache: Cache, split: str | None, evaluates_it: bool) -> tuple[str, ...]:
    """List the split columns that ALL_SPLITS means, each of which has training and test videos; else nothing.

    evaluates_it: whether this cache has the test videos. Raises UserError for fewer than two, and for ALL_ROWS, which
    leaves no test videos.
    """
    if split == ALL_ROWS and evaluates_it:
        raise UserError(f"--split {ALL_ROWS} leaves no test videos: name a split, or take --split {ALL_SPLITS}")
    if split != ALL_SPLITS:
        return ()
    columns = tuple(split_columns(cache.index))
    if len(columns) < 2:
        raise UserError(f"--split {ALL_SPLITS} means two split columns or more; {cache.storage} has {len(columns)}")
    for column in columns if evaluates_it else ():
        for part in (TRAIN, find_test_part(cache, column)):
            split_rows(cache, column, part)
    return columns


def evaluated_splits(cache: Cache, split: str | None) -> tuple[str, ...]:
    """List the split columns of another cache that trials are evaluated on: the one named, the first, or all."""
    return training_splits(cache, split, True) or (split_rows(cache, split, find_test_part(cache, split))[0],)


def find_tested_part(cache: Cache, split: str | None, task: str) -> str:
    """Find the part of a split (None: the first) that a task is tested on: only videos with a label count for most."""
    return find_test_part(cache, split, None if task == WITHOUT_LABELS else LABEL)


def check_evaluated_videos(cache: Cache, splits: Sequence[str | None], tasks: Sequence[str]) -> None:
    """Raise UserError where a split (None: the first) lacks training or test videos that the tasks can be asked of,
    before anything is trained for them. All but one take labels, of two classes or more."""
    for split in splits:
        for task in tasks:
            rows = split_rows if task == WITHOUT_LABELS else labelled_rows
            for part in (TRAIN, find_tested_part(cache, split, task)):
                rows(cache, split, part)


def choose_selection(
    asked: str | None, tasks: Sequence[str], cache: Cache, split: str | None, group: str | None = None
) -> tuple[str, str]:
    """Choose by which videos arms are ranked: as asked; else by validation videos where they can be cut.

    cache, split: of what is evaluated. group: as Protocol has it. Returns it, and a sentence where nothing but test
    videos is left to rank by, or where nothing tells the recordings of validation videos. Raises UserError for
    validation videos that are asked for and cannot be had, and for a column of groups that is not there.
    """
    if group is not None:
        check_group(cache, group)
    try:
        if not set(tasks) & set(RANKED):
            raise UserError(f"{', '.join(tasks)} has no validation videos: it learns from all training rows")
        if asked != TEST:
            trained = labelled_rows(cache, split, TRAIN)
            cut_validation(trained, group)
            return VALIDATION, unknown_recordings_note(trained, group)
        reason = "as asked"
    except UserError as error:
        if asked == VALIDATION:
            raise
        reason = str(error)
    return TEST, f"numbers are of test videos ({reason}): an arm that is chosen by them is chosen on test videos"


def describe_choice(tasks: Sequence[str]) -> str:
    """Say in a sentence what ranks the arms, for tasks with validation videos."""
    ranked = [task for task in tasks if task in RANKED]
    return (
        f"arms are ranked by {', '.join(ranked)} on validation videos, a fifth of the recordings of the training rows, "
        "which pre-training has seen without labels; test videos choose nothing"
    )


def as_protocol(values: dict[str, Any]) -> Protocol:
    """Make a protocol of the plain values that one was turned into."""
    lists_as_tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Protocol(**lists_as_tuples)

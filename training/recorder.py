"""Where the measurements of a run go: its own CSV files, TensorBoard, and the trackers that its settings name."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from s2vc.pipeline.storage.step_log import StepLog
from s2vc.training.monitor import MonitorStep
from s2vc.training.run_folder import RunFolder, TrainingStep
from s2vc.training.settings import TrainingSettings
from s2vc.training.trackers import LenientTracker, open_trackers

OF_THE_ROW = ("step", "epoch")
"""These say when something was measured."""

Record = Callable[[TrainingStep | MonitorStep], None]


@contextmanager
def run_recorder(
    folder: RunFolder, settings: TrainingSettings, done: int, announce: Callable[[str], None] = lambda sentence: None
) -> Iterator[Record]:
    """Give the function that records a step, or what a monitor found. done: so many steps were done before; what an
    earlier run has recorded of later ones is dropped from the run's own files. announce: called with a sentence where a
    tracker fails. Raises UserError for one that cannot be opened."""
    # It is slow to import, and one process needs it.
    from torch.utils.tensorboard import SummaryWriter

    with ExitStack() as opened:
        board = opened.enter_context(closing(SummaryWriter(str(folder.tensorboard), purge_step=done + 1)))
        steps = opened.enter_context(closing(StepLog(folder.metrics, TrainingStep, done)))
        found = opened.enter_context(closing(StepLog(folder.monitor, MonitorStep, done))) if settings.monitor else None
        trackers = [
            opened.enter_context(closing(LenientTracker(tracker, announce)))
            for tracker in open_trackers(folder.root, settings)
        ]

        def record(row: TrainingStep | MonitorStep) -> None:
            if isinstance(row, TrainingStep):
                steps.add(row)
            elif found:
                found.add(row)
            measured = {k: v for k, v in dataclasses.asdict(row).items() if k not in OF_THE_ROW and not math.isnan(v)}
            for name, value in measured.items():
                board.add_scalar(name, value, row.step)
            for tracker in trackers:
                tracker.add(measured, row.step)

        yield record

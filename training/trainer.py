"""The training loop, which is the same function in a single process and in each of several."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel

from s2vc.manifests.errors import Stopped, UserError
from s2vc.pipeline.device import rank_and_world_size
from s2vc.training.backbones.checkpoints import ENCODER_PREFIX
from s2vc.training.clips import ClipDataset
from s2vc.training.gradients import add_gradients
from s2vc.training.loader import EpochBatches, Loader, spare_cpus
from s2vc.training.methods import TrainingTask, build_training_task, open_cache
from s2vc.training.monitor import RetrievalMonitor
from s2vc.training.precision import agree_on_precision
from s2vc.training.recorder import Record, run_recorder
from s2vc.training.run_folder import Position, RunFolder, TrainingStep
from s2vc.training.schedule import learning_rate
from s2vc.training.settings import TrainingSettings, resolve_shards_at_hand
from s2vc.training.step_figures import StepFigures, accuracy, steps_behind

OnStep = Callable[[TrainingStep], None]

OnEpoch = Callable[[nn.Module, int], None]
"""Takes the model, which it may put into evaluation mode, and the number of epochs that are done."""


def nothing_after_epochs(model: nn.Module, epochs: int) -> None:
    """Do nothing after an epoch."""


def train(
    settings: TrainingSettings,
    clips: ClipDataset,
    folder: RunFolder,
    device: torch.device,
    on_step: OnStep = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: OnEpoch = nothing_after_epochs,
    announce: Callable[[str], None] = lambda sentence: None,
    processes_here: int = 1,
) -> Position:
    """Train with resolved settings, or resume training, until all epochs are done.

    Under torch.distributed every process calls this, with the batch shared among them; the first one writes. on_step is
    called after every step, on_epoch after every epoch, before its checkpoint. Where should_stop() says so (asked in
    the first process), the run ends after the step. announce: called by the first process with a sentence on devices,
    precision and readers. processes_here: how many of the processes share this machine and its CPUs. Returns how far
    the run is, as its checkpoint says. Raises Stopped where it cannot go on for a cause outside, and UserError for
    clips that cannot be read.
    """
    training = _Training(settings, clips, folder, device, should_stop, processes_here, announce)
    sentence = training.describe()
    if training.rank == 0:
        announce(sentence)
    return training.run(on_step, on_epoch)


class _Training:
    """Runs the loop in one process."""

    def __init__(
        self,
        settings: TrainingSettings,
        clips: ClipDataset,
        folder: RunFolder,
        device: torch.device,
        should_stop: Callable[[], bool],
        processes_here: int,
        announce: Callable[[str], None],
    ):
        self._announce = announce
        self.folder, self.device, self._should_stop = folder, device, should_stop
        self.rank, self.processes = rank_and_world_size()
        self.videos, self.split = len(clips), clips.split
        self.settings = settings = replace(settings, precision=agree_on_precision(settings.precision, device))
        if self.rank == 0:
            folder.open(settings)
        self.scaler = GradScaler(device.type, enabled=settings.precision == "float16")
        self.task: TrainingTask = build_training_task(settings, clips, device)
        groups, self.lr_factors = parameter_groups(self.task.model, settings.backbone_lr)
        fused = device.type == "cuda" or None  # one kernel, instead of several for all weights
        self.optimizer = torch.optim.Adam(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
        self.position = folder.load(self.task.model, self.optimizer, self.scaler)
        at_hand = resolve_shards_at_hand(settings)
        batches = EpochBatches(clips.shards, settings.batch, settings.seed, self.rank, self.processes, at_hand)
        readers = settings.loader_workers
        self.readers = spare_cpus(processes_here) if readers is None else readers
        self.steps = batches.steps
        self.loader = Loader(clips, batches, device, self.readers)
        self.model: nn.Module = self._wrapped_model()
        self.saved_at = time.monotonic()
        self.stopping = False
        self._first_batch_checked = False
        self._unread: deque[StepFigures] = deque()

    def _wrapped_model(self) -> nn.Module:
        model = self.task.model
        if self.settings.compile:
            for encoder in model.children():  # This happens in place, so that the names in checkpoints stay.
                encoder.compile()
        if self.processes == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def describe(self) -> str:
        """Say what the run computes on, and how many processes read for each that trains: all of them call this."""
        counts = torch.tensor([self.readers, -self.readers], device=self.device)
        if self.processes > 1:
            distributed.all_reduce(counts, distributed.ReduceOp.MIN)
        least, most = int(counts[0]), -int(counts[1])
        readers = f"{least}" if least == most else f"{least} to {most}"
        several = self.processes > 1
        where = f"in {self.processes} processes on {self.device.type}" if several else f"on {self.device.type}"
        reading = f"{readers} process{'es' * (most != 1)} reading clips{' for each' * several}"
        return f"training {where} in {self.settings.precision}, {reading}"

    def run(self, on_step: OnStep, on_epoch: OnEpoch) -> Position:
        begun = self.position
        with self._recorder() as record:
            monitor = self._monitor(record)
            while self.position.epoch < self.settings.epochs and not self.stopping:
                for row in self._epoch(self.position.epoch, self.position.step):
                    record(row)
                    on_step(row)
                    if self._unread:  # The weights are a step further than this row.
                        continue
                    if self.position.step == 0:
                        on_epoch(self.task.model, self.position.epoch)
                        monitor()
                    if self.stopping:
                        break
                    if self._checkpoint_is_due():
                        self._save()
            # The checkpoint of a run that was done before stays as it is, for those who know it by its time.
            if self.position != begun or not self.folder.checkpoint.exists():
                self._save()
        return self.position

    def _epoch(self, epoch: int, start: int) -> Iterator[TrainingStep]:
        """Train on the rest of an epoch, from step `start` on."""
        self._read_at = time.perf_counter()
        for step, batch in enumerate(self.loader.epoch(epoch, start), start):
            if not self._first_batch_checked:
                self._first_batch_checked = True
                refuse_constant_clips(batch[0])
            rate = learning_rate(self.settings, self.steps, self.position.total)
            torch.manual_seed(_step_seed(self.settings.seed, epoch, step, self.rank))
            total, done = self.position.total + 1, step + 1 == self.steps
            self._unread.append(StepFigures(self._step(batch, rate), epoch, total, rate))
            self.position = Position(epoch + done, 0 if done else step + 1, total)
            # What is saved, and a model that is looked at, has to be one whose figures are known, and finite.
            all_of_them = done or self._checkpoint_is_due()
            while len(self._unread) > (0 if all_of_them or self.stopping else steps_behind(self.device)):
                yield self._read(self._unread.popleft())

    def _read(self, figures: StepFigures) -> TrainingStep:
        """Wait for a step, and make the row of its figures. Raises Stopped for a loss that is not finite."""
        loss, top1, top5, batch_top1, stopping = figures.read()
        self.stopping |= stopping > 0
        if not np.isfinite(loss):
            raise Stopped(
                f"the loss of step {figures.total} is {loss}: lower --lr, or look at the clips (`s2vc-prep preview`)"
            )
        now = time.perf_counter()
        waited, self.loader.wait_seconds = self.loader.wait_seconds, 0.0
        spent, self._read_at = now - self._read_at, now
        speed, share = self.settings.batch / spent, waited / spent
        of_step = figures.total, figures.epoch + 1, loss, top1, top5, batch_top1, figures.rate
        return TrainingStep(*of_step, speed, share)

    def _step(self, batch: Any, rate: float) -> Tensor:
        """Make a step of the optimizer -> (5,): loss, top-1, top-5, batch top-1, and whether to stop, over all
        processes."""
        for group, share in zip(self.optimizer.param_groups, self.lr_factors, strict=True):
            group["lr"] = rate * share
        inputs = self.task.inputs(batch)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, scores = add_gradients(self.model, inputs, self.settings, self.scaler)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # A GPU fills in a number by itself; a tensor made of it here would be copied there, and waited for.
        stopping = torch.full((), float(self.rank == 0 and self._should_stop()), device=self.device)
        measured = torch.stack([loss, *accuracy(scores.logits, scores.targets), scores.batch_top1, stopping])
        if self.processes > 1:
            distributed.all_reduce(measured)
            measured /= self.processes
        return measured

    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.settings.checkpoint_minutes * 60

    def _save(self) -> None:
        if self.rank == 0:
            states = self.task.model, self.optimizer, self.scaler
            self.folder.save(*states, self.settings, self.position, self.videos, self.split)
        self.saved_at = time.monotonic()

    @contextmanager
    def _recorder(self) -> Iterator[Record]:
        """Give the function that records a step; only the first process writes anything."""
        if self.rank:
            yield lambda record: None
            return
        with run_recorder(self.folder, self.settings, self.position.total, self._announce) as recorder:
            yield recorder

    def _monitor(self, record: Record) -> Callable[[], None]:
        """Give the function that looks at the model after an epoch, in the first process, where it is time to."""
        if self.rank or not self.settings.monitor:
            return lambda: None
        monitor = RetrievalMonitor(open_cache(self.settings), self.settings, self.device, self.readers)

        def look() -> None:
            epoch = self.position.epoch
            if epoch % self.settings.monitor_every == 0 or epoch == self.settings.epochs:
                record(found := monitor(self.task.model, self.position.total, epoch))
                self._announce(monitor.describe(found))

        return look


def refuse_constant_clips(queries: Tensor) -> None:
    """Raise UserError where every clip (N, …) of a batch is of one value throughout: there is nothing to learn."""
    flat = queries.flatten(1)
    if bool((flat.amin(dim=1) == flat.amax(dim=1)).all()):
        raise UserError(
            f"the stored frames of the first {len(flat)} clips are constant, all of one colour: look at them"
        )


def parameter_groups(model: nn.Module, backbone_factor: float) -> tuple[list[dict[str, Any]], list[float]]:
    """Group the trained parameters of a model for an optimizer, and give each group's factor of the learning rate."""
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if backbone_factor == 1:
        return [{"params": list(trained.values())}], [1.0]
    backbone = [p for n, p in trained.items() if n.startswith(ENCODER_PREFIX)]
    rest = [p for n, p in trained.items() if not n.startswith(ENCODER_PREFIX)]
    return [{"params": rest}, {"params": backbone}], [1.0, backbone_factor]


def _step_seed(*position: int) -> int:
    """Derive a step's seed from the run's seed, epoch, step and process, so that no checkpoint need hold it."""
    return int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0])

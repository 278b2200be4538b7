"""Retrieval while a run trains: are the training videos that are nearest to a validation video of its class?

Test videos are never looked at, and what is learned is bit for bit what it is without."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.frames import read_picked_frames
from s2vc.pipeline.windows import WindowRule
from s2vc.training.augment import Normalise
from s2vc.training.batch_statistics import BATCH, batches_to_measure, statistics_set
from s2vc.training.choices import ALL_ROWS, TRAIN
from s2vc.training.dpc import DPC
from s2vc.training.fixed_crop import CENTRE, fixed_crop
from s2vc.training.gradients import autocast_of
from s2vc.training.labels import read_labels
from s2vc.training.loader import batches_of, data_loader
from s2vc.training.selection import split_column
from s2vc.training.settings import TrainingSettings

VALIDATION, TEST = "val", "test"
NEIGHBOURS = 5


@dataclass(frozen=True)
class MonitorStep:
    """Holds a row of monitor.csv: after how many steps and epochs, and the shares of validation videos that have one of
    their class as the nearest training video, or among the five nearest."""

    step: int
    epoch: int
    retrieval_r1: float
    retrieval_r5: float


class MonitoredRows(NamedTuple):
    """Numbers of rows of the cache's index, (N,), and their classes, (N,) int64."""

    rows: np.ndarray
    labels: np.ndarray


class RetrievalMonitor:
    """Looks for the validation videos of a run's split among its training videos, by a clip in the middle of each.

    A clip has the run's frames, frame step and size, and shows the centre of the frame; features are pooled over space
    and time, and compared by cosine similarity. Batch norm without statistics of its own has those of training clips
    meanwhile. Raises UserError where the split has no validation videos with classes, and where they are what
    evaluation tests on, since the split has no test videos.
    """

    def __init__(self, cache: Cache, settings: TrainingSettings, device: torch.device, readers: int):
        self._settings, self._device, self._readers = settings, device, readers
        self.column = split_column(cache, settings.split)
        self._gallery, self._queries = (
            _monitored(cache, self.column, part, settings.label) for part in (TRAIN, VALIDATION)
        )
        _refuse_tested(cache, self.column)
        if missing := [
            part for part, found in ((TRAIN, self._gallery), (VALIDATION, self._queries)) if len(found.rows) == 0
        ]:
            raise UserError(
                f"--monitor needs {' and '.join(missing)} videos with frames and a {settings.label} in column "
                f"{self.column}, and it has none: give some videos of the manifest the part {VALIDATION}"
            )
        self._clips = _MiddleClips(cache, np.concatenate([self._gallery.rows, self._queries.rows]), settings)
        self._normalise = Normalise(settings.mean, settings.std).to(device)

    @property
    def chance(self) -> float:
        """Return the R@1 that drawing neighbours at random reaches."""
        return float(np.mean([(self._gallery.labels == label).mean() for label in self._queries.labels]))

    def describe(self, found: MonitorStep) -> str:
        """Put what was found in a line."""
        r1, r5, near = found.retrieval_r1, found.retrieval_r5, NEIGHBOURS
        return (
            f"epoch {found.epoch}: {len(self._queries.rows)} validation videos among {len(self._gallery.rows)} of "
            f"training: R@1 {r1:.1%} (chance {self.chance:.1%}), R@{near} {r5:.1%}"
        )

    def __call__(self, model: nn.Module, step: int, epoch: int) -> MonitorStep:
        """Measure a model after so many steps and epochs; it is left in evaluation mode."""
        backbone = _backbone_of(model)
        # Workers of a loader take their seed from torch's random numbers, which belong to the training.
        with (
            torch.random.fork_rng([self._device] if self._device.type == "cuda" else []),
            autocast_of(self._device, self._settings.precision),
            statistics_set(backbone, self._measured_clips()),
        ):
            features = self._features(backbone.eval())
        gallery, queries = features.split([len(self._gallery.rows), len(self._queries.rows)])
        nearest = (queries @ gallery.T).topk(min(NEIGHBOURS, len(gallery)), dim=1).indices.cpu().numpy()
        hits = self._gallery.labels[nearest] == self._queries.labels[:, None]
        return MonitorStep(step, epoch, float(hits[:, 0].mean()), float(hits.any(axis=1).mean()))

    @torch.no_grad()
    def _features(self, backbone: nn.Module) -> Tensor:
        """Compute features of all clips, of length 1: (N, C) float32."""
        loader = data_loader(self._clips, self._readers, batch_size=BATCH)
        found = [backbone(clips).float().mean(dim=(2, 3, 4)) for clips in self._prepared(loader)]
        return functional.normalize(torch.cat(found), dim=1)

    def _measured_clips(self) -> Iterator[Tensor]:
        """Give the training clips that batch norm without statistics of its own takes them from, in batches."""
        batches = [part.tolist() for part in batches_to_measure(np.arange(len(self._gallery.rows)))]
        yield from self._prepared(data_loader(self._clips, self._readers, batch_sampler=batches))

    def _prepared(self, loader: "DataLoader[Any]") -> Iterator[Tensor]:
        """Crop and normalise what a loader reads: clips (n, 3, T, size, size) float32."""
        for stored in batches_of(loader):
            with torch.autocast(self._device.type, enabled=False):
                video = fixed_crop(stored.to(self._device).permute(0, 4, 1, 2, 3), self._settings.size, CENTRE)
                clips = self._normalise(video).contiguous(memory_format=torch.channels_last_3d)
            yield clips


class _MiddleClips(Dataset):
    """The middle clip of each of some rows of a cache's index: (frames, H, W, 3) uint8."""

    def __init__(self, cache: Cache, rows: np.ndarray, settings: TrainingSettings):
        self._cache, self._rows = cache, rows
        self._rule = WindowRule("clip", settings.clip_length, settings.frame_step, 1)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, item: int) -> Tensor:
        if item >= len(self):
            raise IndexError(item)
        row = self._cache.index.iloc[int(self._rows[item])]
        windows = self._rule.windows(int(row["frames"]))
        numbers = int(row["first_frame"]) + windows[len(windows) // 2]
        with damage_as_user_error(f"stored frames of {row['video_id']}", self._cache.storage):
            path = self._cache.storage.fetch(self._cache.layout.frames(int(row["shard"])))
            return torch.from_numpy(read_picked_frames(path, numbers))


def _backbone_of(model: nn.Module) -> nn.Module:
    """Return the backbone within the model of a method."""
    return model.backbone if isinstance(model, DPC) else cast(nn.Sequential, model.encoder_q)[0]


def _monitored(cache: Cache, column: str, part: str, label: str) -> MonitoredRows:
    """Select the rows of a part with frames and a class. Raises UserError where there is no split."""
    if column == ALL_ROWS:
        raise UserError("--monitor needs a split with validation videos, and all rows are trained on")
    labels = read_labels(cache, label).numbers
    chosen = (cache.index[column] == part) & (cache.index["frames"] > 0) & (labels >= 0)
    rows = np.flatnonzero(chosen)
    return MonitoredRows(rows, labels[rows])


def _refuse_tested(cache: Cache, column: str) -> None:
    """Raise UserError where validation videos are tested on: evaluation takes them where a split has no test videos."""
    if not (cache.index[column] == TEST).any() and (cache.index[column] == VALIDATION).any():
        raise UserError(
            f"column {column} has no {TEST} videos, so that evaluation tests on its {VALIDATION} videos, and --monitor "
            f"does not look at what is tested: in a split column of its own call them {TEST}, and some of the training "
            f"videos {VALIDATION}"
        )

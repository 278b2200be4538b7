"""What is learned, and from what: MoCo without and with S²VC, S²VC with the flow in the loop, classes, and DPC."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.flow import Flow, load_flow, multiplies_bfloat16
from s2vc.training.backbones import build_backbone
from s2vc.training.backbones.checkpoints import find_backbone, weights_hash
from s2vc.training.clips import ClipDataset, LabelledClips, PairClips, SingleClips
from s2vc.training.dpc import DPC
from s2vc.training.dpc_settings import DPC_METHODS
from s2vc.training.moco import MoCo, Scores, build_encoder
from s2vc.training.settings import TrainingSettings, training_variants
from s2vc.training.views import DPCViews, PairViews

SMALL_WEIGHTS = 0.01
"""Weights of a classifier start with this deviation."""

MIN_NORM_GROUP = 2
"""A group has this many clips or more: batch norm over one clip would leave little of it."""

MIN_VIDEOS = 4
"""Negatives come from other videos, and a queue may hold a quarter of them."""


class Classifier(nn.Module):
    """Joins a backbone and a linear classifier, for learning with labels: clips (N, 3, T, H, W) -> logits (N, classes).
    labels (N,) int64 are handed on as the targets. dropout: rate on the features before the classifier. The classifier
    starts small, as published: weights from N(0, 0.01²), no bias.
    The encoder has the names of MoCo's query encoder, so that its backbone is found in a checkpoint by the same key."""

    def __init__(self, backbone: nn.Module, classes: int, dropout: float = 0.0):
        super().__init__()
        self.encoder_q = build_encoder(backbone, "linear", classes, dropout)
        init_small(self.encoder_q[-1])

    def forward(self, clips: Tensor, labels: Tensor) -> Scores:
        logits = self.encoder_q(clips).flatten(1).float()
        return Scores(logits, labels, logits.new_tensor(float("nan")))


def init_small(layer: nn.Module) -> None:
    """Draw the weights of a linear layer or a convolution from N(0, 0.01²), with no bias."""
    nn.init.normal_(layer.weight, std=SMALL_WEIGHTS)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainingTask:
    """Holds the model of a method, and what becomes of a batch.

    model: gives Scores of its inputs. inputs: turns a batch of the loader into the model's inputs.
    """

    model: nn.Module
    inputs: Callable[[Any], tuple[Tensor, ...]]


def open_cache(settings: TrainingSettings) -> Cache:
    """Open the cache that a run reads."""
    return Cache(settings.cache, settings.local_cache or "", settings.local_cache_size)


def open_clips(settings: TrainingSettings) -> ClipDataset:
    """Open the clips that a method reads. Raises UserError early for whatever keeps it from training on this cache."""
    cache = open_cache(settings)
    where = (settings.clip_length, settings.frame_step)
    if settings.method == "supervised":
        clips: ClipDataset = LabelledClips(cache, *where, settings.split, settings.seed, settings.still, settings.label)
    elif settings.method in DPC_METHODS:
        variants, preserved = training_variants(settings), settings.preserved
        clips = SingleClips(cache, variants, preserved, *where, settings.split, settings.seed)
    else:
        variants = training_variants(settings) if settings.method == "s2vc" else []
        clips = PairClips(cache, variants, *where, settings.pair, settings.split, settings.seed)
    if len(clips) < MIN_VIDEOS:
        raise UserError(f"training needs {MIN_VIDEOS} videos or more: the split has {len(clips)} with frames")
    return clips


def check_starting_weights(settings: TrainingSettings, device: torch.device) -> str:
    """Return the hash of the weights that a run starts from, empty for fresh ones.

    Raises UserError early for weights, or a flow, that it cannot start from.
    """
    if settings.method == "s2vc-online":
        load_online_flow(settings, device)
    return weights_hash(find_backbone(Path(settings.init), settings.backbone)[1]) if settings.init else ""


def build_training_task(settings: TrainingSettings, clips: ClipDataset, device: torch.device) -> TrainingTask:
    """Build the method of resolved settings on a device. Weights are drawn by the seed, or read where `init` says
    so."""
    torch.manual_seed(settings.seed)
    backbone = build_backbone(settings.backbone, settings.block_length)
    backbone.activation_checkpointing = settings.activation_checkpointing  # type: ignore[assignment]
    if settings.init:
        backbone.load_state_dict(find_backbone(Path(settings.init), settings.backbone)[1])
    if isinstance(clips, SingleClips):
        return _build_dpc_task(settings, backbone, device)
    views = PairViews(settings, load_online_flow(settings, device) if settings.method == "s2vc-online" else None).to(
        device
    )
    if isinstance(clips, LabelledClips):
        model: nn.Module = Classifier(backbone, clips.classes, settings.dropout)
        task = TrainingTask(model, lambda batch: (views.query(batch[0]), batch[1]))
    else:
        model = MoCo(
            backbone,
            settings.head,
            settings.dim,
            settings.queue or 0,
            settings.momentum,
            settings.temperature,
            norm_group_count(settings),
            settings.symmetric,
        )
        task = TrainingTask(model, lambda batch: (views.query(batch[0]), views.key(batch[1])))
    model.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return task


def chance_top1(settings: TrainingSettings, clips: ClipDataset) -> float:
    """Compute the top-1 share that guessing reaches: among the classes, among a query's own and the other keys, or
    among the true features of DPC's places."""
    if isinstance(clips, SingleClips):
        return 1 / (settings.batch // max(settings.workers, 1) * settings.predicted * feature_map_cells(settings))
    return 1 / clips.classes if isinstance(clips, LabelledClips) else contrastive_chance_top1(settings)


def contrastive_chance_top1(settings: TrainingSettings) -> float:
    """Compute it for a query's key, with resolved settings: among that key and the queue, or the keys of a step."""
    return 1 / (1 + settings.queue if settings.queue else settings.batch)


def norm_group_count(settings: TrainingSettings) -> int:
    """Count the groups of a process's clips that are normalised apart: two over all processes at least, of two clips or
    more."""
    processes = max(settings.workers, 1)
    clips = settings.batch // processes
    least = 2 if processes == 1 and clips >= 2 * MIN_NORM_GROUP else 1
    return max(least, min(-(-clips // settings.norm_group), clips // MIN_NORM_GROUP))


def load_online_flow(settings: TrainingSettings, device: torch.device) -> Flow:
    """Load the flow that s2vc-online runs: the cache's own, in the precision that the cache has, but in float32 where
    the device does not multiply bfloat16; or another."""
    if settings.flow == "cache":
        cache = open_cache(settings)
        precision = cache.settings.precision if multiplies_bfloat16(device) else "float32"
        return load_flow(cache.storage.fetch(cache.layout.flow), device, precision)
    return load_flow(settings.flow, device, "auto")


def feature_map_cells(settings: TrainingSettings) -> int:
    """Count the cells of a feature map: (size / 32)², rounded up before it is squared."""
    return int((-(-settings.size // 32)) ** 2)


def _build_dpc_task(settings: TrainingSettings, backbone: nn.Module, device: torch.device) -> TrainingTask:
    model = DPC(backbone, settings.blocks, settings.block_length, settings.predicted).to(device)
    model.backbone.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    views = DPCViews(settings).to(device)
    return TrainingTask(model, lambda batch: (views(batch),))

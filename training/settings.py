"""Every setting of a run, with its default and what it means; presets, YAML files and flags go over them in this order.

Where paper and published code differ, the default is named, and the other is the option.
"""

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s2vc.manifests.errors import UserError
from s2vc.pipeline.choices import RANDOM_STRATEGIES
from s2vc.pipeline.storage.byte_sizes import LOCAL_CACHE_SIZE
from s2vc.pipeline.storage.object_store import is_url
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import MAX_CLIP
from s2vc.training import clip_shapes
from s2vc.training.choices import COLOUR_JITTER, HEADS, IMAGENET_MEAN, IMAGENET_STD, LABEL, PAIR_MODES, RGB
from s2vc.training.dpc_settings import DPC_METHODS, check_dpc_settings, method_defaults
from s2vc.training.regimes import PAPER, PAPER_STEPS, PAPER_VIDEOS, REGIMES, without_overridden_shares
from s2vc.training.setting_checks import check_combinations, check_scales, check_variants_given
from s2vc.training.setting_fields import check_fields, convert, option, without_unset

METHODS = ("s2vc", "moco", "s2vc-online", "supervised", "dpc", "dpc-s2vc")
NEGATIVES = ("queue", "batch")
SCHEDULES = ("step", "cosine", "constant")
KEY_AUGMENTS = ("crop", "full")
JITTERS = ("per-clip", "per-frame")
AUGMENTS = ("light", "full")
LOGS = ("wandb", "mlflow")
MONITORS = ("retrieval",)
PRECISIONS = ("auto", "float32", "bfloat16", "float16")

MAX_SEED = 2**63 - 1
"""Torch takes no larger one."""

AUTO = "auto"

SHARDS_AT_HAND = 64
"""Samples of a cache at a URL are shuffled over this many shards at a time: with shards of 16, over 1,000 videos."""


def by_regime(name: str, help: str, choices: tuple[str, ...] = ()) -> Any:
    """Declare a field that a regime sets; by itself it has the paper's value."""
    return option(REGIMES[PAPER][name], help, choices)


def is_contrastive(method: str) -> bool:
    """Say whether a method compares a query's key with others: then it has negatives, a key encoder's momentum, and
    crops by scale. Learning with labels has none of these, and dense predictive coding has its own."""
    return method not in ("supervised", *DPC_METHODS)


@dataclass(frozen=True)
class TrainingSettings:
    """Holds the settings of one run. The command line is made from these fields."""

    cache: str = option("", "The cache trained on.")
    regime: str = option(
        AUTO,
        f"Sets what is not given by name. auto: paper with a preset, {PAPER_VIDEOS:,} training videos, or "
        f"{PAPER_STEPS:,} steps; else small, which teaches in hundreds of steps. dpc takes paper.",
        (AUTO, *REGIMES),
    )

    # These say what is learned.
    method: str = option(
        "s2vc",
        "moco: no S²VC; s2vc-online: the flow in the loop, as published; dpc: dense predictive coding; dpc-s2vc: with "
        "motion-preserved clips as augmentation.",
        METHODS,
    )
    backbone: str = option(
        "r3d18",
        "r3d18 or s3d; dpc's r2d3d18; r3d18a: with shortcuts A; others.",
        tuple(clip_shapes.CLIP_LENGTHS),
    )
    head: str = option("linear", "linear: the paper; mlp: the code.", HEADS)
    dim: int = option(128, "Size of the embeddings.", at_least=1)
    negatives: str = by_regime("negatives", "queue: keys of steps before; batch: other keys of the step.", NEGATIVES)
    queue: int | None = option(
        None,
        "Keys kept, as given.  [default: 2048 (Kinetics presets: 16384), a quarter of the videos at most]",
        at_least=1,
        unset=AUTO,
    )
    queue_limit: int = option(2048, "The most keys that are kept where --queue is not given.", at_least=1)
    momentum: float = by_regime("momentum", "Of the key encoder.")
    temperature: float = by_regime("temperature", "τ of eq. 6.")
    symmetric: bool = option(
        False,
        "Motion-preserved clips are queries, too, and originals their keys: twice the work of a step. Negatives from "
        "the batch.",
    )
    norm_group: int = option(
        32,
        "Clips normalised together, at most half a batch; keys are shuffled over the groups, as MoCo does over GPUs.",
        at_least=2,
    )
    init: str | None = option(None, "Start from the backbone of this checkpoint.", unset="")

    # These are for classes, in method supervised.
    dropout: float = option(0.0, "supervised: of the features before the classifier.")
    backbone_lr: float = option(1.0, "supervised: learning rate of the backbone, as a share of --lr.", at_least=0)
    label: str = option(LABEL, "supervised: column of the classes; another than label holds their names.")
    still: bool = option(False, "supervised: a clip is one frame throughout (what do static cues alone tell?).")

    augment: str = option("light", "supervised: light: jitter of 3 clips in 10, the code; full: as for moco.", AUGMENTS)

    # These are for blocks, in methods dpc and dpc-s2vc.
    blocks: int = option(8, "dpc: in a clip.", at_least=2)
    block_length: int = option(5, "dpc: frames of a block, which r2d3d18 sees by itself.", at_least=2)
    predicted: int = option(3, "dpc: blocks that are predicted, the last of a clip.", at_least=1)
    preserved: float = option(0.5, "dpc-s2vc: share of clips that are motion-preserved, drawn anew each epoch; 1: all.")

    # These say how pairs are drawn.
    alpha: tuple[float, ...] = option((), "Key clips of this alpha, scope video; repeatable: one is drawn per sample.")
    keep: tuple[float, ...] = option((), "Or from the variant that keeps this share; repeatable.")
    variant: tuple[str, ...] = option((), "Or from a variant by its name; repeatable.")
    draws: int = option(1, "Draws 0 to N-1 of each variant of a random strategy.", at_least=1)
    flow: str = option("cache", "s2vc-online: 'cache', 'default', or a file.")
    split: str | None = option(
        None, "Split column; all: all rows.  [default: the first, or all rows where there is none]", unset=AUTO
    )
    clip_length: int = option(clip_shapes.CLIP_LENGTHS["r3d18"], "Frames; s3d 32, slow_r50 8, dpc's blocks.", unset=0)
    frame_step: int = option(
        clip_shapes.FRAME_STEPS["r3d18"], "Between two frames; r2d3d18 3, slow_r50 8.", at_least=1, unset=0
    )
    shards_at_hand: int | None = option(
        None,
        "Shards are shuffled, and samples over this many shards at a time.  [default: over all, of a cache at a URL "
        f"over {SHARDS_AT_HAND}, so that each shard is fetched about once an epoch]",
        at_least=1,
        unset=0,
    )
    pair: str = option("independent", "independent: two starts in a video, the code; same: one.", PAIR_MODES)

    # These say how clips are augmented.
    size: int = option(clip_shapes.SIZES["r3d18"], "Pixels of a side; s3d and r2d3d18 128, slow_r50 224.", unset=0)
    query_scale: tuple[float, float] = by_regime("query_scale", "Share of the frame that a crop of the query covers.")
    key_scale: tuple[float, float] = by_regime("key_scale", "The same of the key.")
    key_augment: str = option(
        "full", "full: as the query, the paper; crop: crop and flip only, the code.", KEY_AUGMENTS
    )
    jitter: str = option(
        "per-clip",
        f"per-frame: a jittered clip's colours {COLOUR_JITTER} are drawn anew for each frame, as the code does.",
        JITTERS,
    )
    mean: RGB = option(IMAGENET_MEAN, "Subtracted from the channels, in 0 to 1; of others' weights (--init), theirs.")
    std: RGB = option(IMAGENET_STD, "Then they are divided by this.")

    # These are for optimisation.
    epochs: int = option(500, "Passes over the training videos (K200: 200, K400: 100; dpc: 300).", at_least=1)
    batch: int = option(128, "Clips of a step, over all workers.", at_least=2)
    lr: float = option(1e-3, "Learning rate of Adam, after the warm-up.", at_least=0)
    schedule: str = by_regime("schedule", "step: times 0.1 at --decays; cosine: to 0; constant: dpc's.", SCHEDULES)
    decays: tuple[float, ...] = option((0.8, 0.9), "step: after these shares of the epochs; repeatable.")
    weight_decay: float = option(1e-5, "Of Adam.", at_least=0)
    warmup_epochs: int = option(10, "Linear warm-up; a tenth of the epochs at most.", at_least=0)
    warmup_share: float = by_regime("warmup_share", "Linear warm-up by share of the steps; 0: by --warmup-epochs.")
    seed: int = option(0, "Of weights, order, pairs and augmentation.", at_least=0)
    workers: int = option(
        0,
        "Processes under Ray Train, each with a GPU where there are some; 0: this one. Their number changes groups of "
        "norm_group and random numbers, so that a run keeps it.",
        at_least=0,
    )
    precision: str = option(
        "auto",
        "auto: bfloat16 autocast on a GPU or CPU that multiplies it, float16 on other GPUs, else float32; a run keeps "
        "what was chosen.",
        PRECISIONS,
    )

    # These say how it is run; none of them changes what is learned but for rounding.
    compile: bool = option(False, "torch.compile the encoders.")
    activation_checkpointing: bool = option(
        False, "Compute activations again in the backward pass: less memory, more time, the same gradients."
    )
    accumulate: int = option(
        1,
        "A step's queries go through the encoder in so many parts, of whole groups of norm_group: less memory, the "
        "same gradients.",
        at_least=1,
    )
    loader_workers: int | None = option(
        None,
        "Processes that read, for each.  [default: its share of the spare CPUs of its machine, 1 to 8]",
        at_least=0,
        unset=-1,
    )
    checkpoint_minutes: float = option(10.0, "Between checkpoints; 0: after every step.", at_least=0)
    log: tuple[str, ...] = option((), "Also to wandb or mlflow (s2vc[log]), beside TensorBoard; repeatable.", LOGS)
    monitor: str | None = option(
        None, "retrieval: look now and then for validation videos among the training videos.", MONITORS, unset=""
    )
    monitor_every: int = option(10, "Epochs between two looks; the last one is looked at, too.", at_least=1)
    local_cache: str | None = option(
        None, "Cache at a URL: folder for copies of its shards.  [default: s2vc in your cache folder]", unset=""
    )
    local_cache_size: str = option(LOCAL_CACHE_SIZE, "What they may take; the least recently used go first.")


MAY_CHANGE = (
    "regime", "compile", "activation_checkpointing", "accumulate", "loader_workers", "checkpoint_minutes",
    "log", "monitor", "monitor_every", "local_cache", "local_cache_size",
)  # fmt: skip
"""These may differ when a run is resumed. Of the regime, all that it stands for is compared."""

PRESETS: dict[str, dict[str, Any]] = {
    "ucf101": {"regime": PAPER, "epochs": 500},
    "k200": {"regime": PAPER, "epochs": 200, "queue_limit": 16384},
    "k400": {"regime": PAPER, "epochs": 100, "queue_limit": 16384},
}


def read_settings_file(path: Path) -> dict[str, Any]:
    """Read the settings of a YAML file, such as the one a run saves. Raises UserError where the file holds none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings; write lines such as `epochs: 100`")
    return {str(name).replace("-", "_"): value for name, value in content.items()}


def merge_settings(*layers: dict[str, Any]) -> TrainingSettings:
    """Put layers of named values over the defaults of method and backbone, later ones on top; a warm-up by epochs is at
    most a tenth of them, and goes over a share that an earlier layer gives. Raises UserError for invalid ones."""
    kinds = typing.get_type_hints(TrainingSettings)
    merged = {name: value for layer in without_overridden_shares(layers) for name, value in layer.items()}
    given = {name: convert(name, value, kinds[name]) for name, value in without_unset(TrainingSettings, merged).items()}
    values = method_defaults(given.get("method", TrainingSettings.method)) | given
    check_fields(settings := TrainingSettings(**values))
    values |= {name: value for name, value in shape_of_clips(settings).items() if name not in given}
    values["warmup_epochs"] = min(settings.warmup_epochs, settings.epochs // 10)
    settings = TrainingSettings(**values)
    check_scales(settings)
    _check_sizes(settings)
    check_combinations(settings)
    check_variants_given(settings)
    training_variants(settings)
    return settings


def shape_of_clips(settings: TrainingSettings) -> dict[str, int]:
    """Return length, step and size of the clips that a backbone takes by default, and of DPC those of its blocks."""
    of_blocks = settings.blocks * settings.block_length if settings.method in DPC_METHODS else None
    return {
        "clip_length": of_blocks or clip_shapes.CLIP_LENGTHS[settings.backbone],
        "frame_step": clip_shapes.FRAME_STEPS[settings.backbone],
        "size": clip_shapes.SIZES[settings.backbone],
    }


def resolve_shards_at_hand(settings: TrainingSettings) -> int | None:
    """Choose over how many shards samples are shuffled at a time; None stands for all."""
    return settings.shards_at_hand or (SHARDS_AT_HAND if is_url(settings.cache) else None)


def training_variants(settings: TrainingSettings) -> list[Variant]:
    """List the variants that motion-preserved clips are drawn from, each once. Raises UserError for a name of none."""
    try:
        variants = [Variant(alpha=a) for a in settings.alpha] + [Variant(keep=k) for k in settings.keep]
        for name in settings.variant:
            variant = Variant.parse(name)
            draws = range(settings.draws) if variant.strategy in RANDOM_STRATEGIES else [0]
            variants += [dataclasses.replace(variant, draw=variant.draw + draw) for draw in draws]
    except ValueError as error:
        raise UserError(str(error)) from error
    return list({v.name: v for v in variants}.values())


def settings_yaml(settings: TrainingSettings) -> str:
    """Write the settings as YAML, as --config reads them."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(settings).items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _check_sizes(settings: TrainingSettings) -> None:
    """Raise UserError for clips that are too short or long, small or large, and for a seed that torch does not take."""
    shortest = clip_shapes.SHORTEST_CLIPS[settings.backbone]
    check_dpc_settings(settings, shortest)
    if not shortest <= settings.clip_length <= MAX_CLIP:
        raise UserError(f"clip_length with {settings.backbone} is {shortest} to {MAX_CLIP}, not {settings.clip_length}")
    if not clip_shapes.MIN_SIZE <= settings.size <= clip_shapes.MAX_SIZE:
        raise UserError(
            f"size is {clip_shapes.MIN_SIZE} pixels or more (the backbones shrink it 32-fold), and "
            f"{clip_shapes.MAX_SIZE} at most, not {settings.size}"
        )
    if settings.seed > MAX_SEED:
        raise UserError(f"seed is {MAX_SEED} at most")

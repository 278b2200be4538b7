"""Whether a row of the paper may be compared with a result of ours, and if not, why: every difference in words.

Only what is recorded counts, and what is not recorded is a difference.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from s2vc.eval.defaults import NATURAL, TEST
from s2vc.eval.paper import (
    DATASETS,
    KINETICS_LEFT,
    PAPER_FRAME_SIZE,
    PAPER_FRAMES,
    PRETRAINING_VIDEOS,
    SPLIT_VIDEOS,
    PaperRow,
    PaperTable,
    evaluation_settings,
    pretraining_settings,
)
from s2vc.eval.report.result_files import Result
from s2vc.training.choices import LABEL, NORMALISATIONS
from s2vc.training.settings import TrainingSettings, training_variants

OTHER_WORK = "another work's: the paper says too little of how it was made"

EVALUATION_WORDS = {
    "dataset": "dataset",
    "gallery": "gallery",
    "gallery_videos": "videos in the gallery",
    "train_videos": "training videos",
    "test_videos": "test videos",
    "stored": "stored frames",
    "frame_step": "frame step",
    "frame_order": "order of frames",
    "per": "a query is a",
    "epochs_linear": "epochs of the classifier",
    "epochs_finetune": "epochs of fine-tuning",
    "batch": "batch",
    "decays": "decays after",
    "train_views": "training views",
    "augment": "augmentation",
    "select": "epoch that is tested",
    "label": "column of classes",
    "test_split": "tested part",
    "mean": "mean of channels",
    "std": "deviation of channels",
}
PRETRAINING_WORDS = {
    "dataset": "pre-training data",
    "split": "pre-training split",
    "backbone": "pre-trained backbone",
    "size": "pre-training size",
    "clip_length": "pre-training clip length",
    "frame_step": "pre-training frame step",
    "pair": "clips of a pair",
    "batch": "pre-training batch",
    "epochs": "pre-training epochs",
    "lr": "learning rate",
    "schedule": "schedule of pre-training",
    "decays": "pre-training decays after",
    "momentum": "momentum of the key encoder",
    "norm_group": "clips normalised together",
    "dim": "embedding size",
    "query_scale": "crops of the query",
    "key_scale": "crops of the key",
    "mean": "mean of channels in pre-training",
    "std": "deviation of channels in pre-training",
    "label": "classes of pre-training",
    "augment": "augmentation of pre-training",
    "still": "still clips",
    "variant": "key clips",
    "key_augment": "key augmentation",
    "init": "starting weights",
    "blocks": "blocks of a clip",
    "block_length": "frames of a block",
    "predicted": "predicted blocks",
}

_CACHE_NAME = re.compile(r"(ucf101|hmdb51|k200|k400|kinetics200|kinetics400)([-_](\d+x\d+|cache))*")


def dataset_of(cache: str, train: object = None, test: object = None) -> str | None:
    """Name the dataset that a cache's folder is named after (`ucf101`, `hmdb51-256x340`, `k400/cache`), else the one
    whose split 1 has so many training videos, and so many test videos if these are given; None where there is none."""
    path = Path(cache)
    name = (path.parent if path.name == "cache" else path).name.lower().removeprefix("cache-")
    if match := _CACHE_NAME.fullmatch(name):
        return match[1].replace("kinetics", "k")
    counted = [d for d, (many, others) in SPLIT_VIDEOS.items() if train == many and test in (None, others)]
    return counted[0] if counted else None


def differences(result: Result, table: PaperTable, row: PaperRow) -> list[str]:
    """Say what keeps a row of the paper from comparison with a result of its task; nothing where it is comparable."""
    if not row.pretraining:
        return [OTHER_WORK]
    wanted = evaluation_settings(table, row) | _videos_wanted(table)
    found = _setting_differences(_evaluated(result), wanted, EVALUATION_WORDS)
    trained, wanted = _pretraining_settings(result), pretraining_settings(row)
    if result.training_settings is None:
        # One sentence stands for all that only the run's folder could tell.
        wanted = {k: v for k, v in wanted.items() if k in trained}
        found.append("settings of its pre-training not found (its data, size, batch and the like)")
    else:
        # A warm-up has its epochs, and a tenth of all at most: where it follows from these, they say it.
        wanted |= {k: min(v, result.training_settings.epochs // 10) for k, v in wanted.items() if k == "warmup_epochs"}
        found += _video_differences(result.content.get("trained_videos"), row.pretraining["dataset"])
    return found + _setting_differences(trained, wanted, PRETRAINING_WORDS)


def _video_differences(videos: object, dataset: str) -> list[str]:
    """Compare how many videos a backbone was trained on with the whole of a dataset."""
    whole = PRETRAINING_VIDEOS[dataset]
    if not isinstance(videos, int):
        return ["videos of pre-training not recorded"]
    enough = videos == whole if dataset in SPLIT_VIDEOS else videos >= KINETICS_LEFT * whole
    return [] if enough else [f"videos of pre-training {_as_text(videos)} here, {_as_text(whole)} in the paper"]


def _setting_differences(have: dict[str, Any], wanted: dict[str, Any], words: dict[str, str]) -> list[str]:
    found = []
    for name, value in wanted.items():
        word = words.get(name, name.replace("_", " "))
        if have.get(name) is None:
            found.append(f"{word} not recorded")
        elif have[name] != value:
            found.append(f"{word} {_as_text(have[name])} here, {_as_text(value)} in the paper")
    return found


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_as_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else DATASETS.get(str(value), str(value)) or "none"


def _videos_wanted(table: PaperTable) -> dict[str, Any]:
    """Count what a whole dataset has: a cache may be named after one and hold a few videos of it."""
    train, test = SPLIT_VIDEOS[table.dataset]
    if table.task == "retrieval":
        return {"gallery": table.dataset, "gallery_videos": train, "test_videos": test}
    if table.task == "order":
        return {"test_videos": 2 * test}  # Each is shown in both orders.
    return {"train_videos": train, "test_videos": test}


def _evaluated(result: Result) -> dict[str, Any]:
    content = dict(result.content)
    if isinstance(videos := content.get("videos"), list):
        content.setdefault("test_videos", len(videos))
    train = content.get("train_videos", content.get("gallery_videos"))
    content["dataset"] = dataset_of(str(content.get("cache", "")), train, content.get("test_videos"))
    content["gallery"] = dataset_of(str(content.get("gallery", "")), content.get("gallery_videos"))
    content = {"label": LABEL, "test_split": TEST, "frame_order": NATURAL} | content
    for name, usual in zip(("mean", "std"), NORMALISATIONS["imagenet"], strict=True):
        content.setdefault(name, " ".join(map(str, usual)))
    if content.get("stored") in PAPER_FRAMES:
        content["stored"] = PAPER_FRAME_SIZE
    return content


def _pretraining_settings(result: Result) -> dict[str, Any]:
    """Give the run's settings where they are at hand, else what little the result repeats of them."""
    if result.training_settings is None:
        return {k: result.content[k] for k in ("method", "head", "key_augment", "epochs") if k in result.content}
    settings = result.training_settings
    made = dataclasses.asdict(settings) | {"variant": _key_clips(settings)}
    made["dataset"] = dataset_of(settings.cache, result.content.get("trained_videos"))
    made["queue"] = settings.queue or 0
    split = settings.split or result.content.get("trained_split", "the first")
    made |= {"init": settings.init or "none", "split": split, "epochs": result.epochs_done}
    if settings.method == "s2vc-online":
        made["method"] = "s2vc"
    return made


def _key_clips(settings: TrainingSettings) -> str:
    """Name the variants; s2vc-online makes what its alphas would have, with masks per training clip."""
    if settings.method == "s2vc-online":
        return " ".join(f"alpha{alpha:g}-zero-clip{settings.clip_length}" for alpha in settings.alpha)
    return " ".join(variant.name for variant in training_variants(settings)) or "none"

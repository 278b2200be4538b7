"""Compare random weights, MoCo, S²VC and supervised pre-training on real actions, by every task of s2vc-eval.

python -m tests.benchmarks.comparison --out FOLDER [--regime small] [--epochs 100] [--seeds 1] [--splits split1 split2]

The data are the 120 clips of ../shared/data/interaction: runs train on set 1 and test on set 2, and the reverse, and
the results are pooled. The settings are small; in the small regime, contrastive runs are symmetric, since others often
lose what they have learned (docs/training.md). Finished runs are kept in FOLDER, so that the benchmark can be stopped
and run again. Intervals are by bootstrap over the sequences that clips were cut from, after averaging over seeds. The
metadata baseline uses no pixels: it is the nearest neighbour by the size of the crop and the length of the clip.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from s2vc.eval.cli import main as evaluate
from s2vc.eval.evaluated_backbone import RANDOM, load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.tasks import linear, order, retrieval
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule
from s2vc.training.cli.session import train_with_progress
from s2vc.training.prepare import prepare_run
from tests.benchmarks.measure import SHARED, print_machine, run_prep

METHODS = ("random", "moco", "s2vc", "supervised")
SPLITS = ("split1", "split2")
TASKS: dict[str, Callable[[Evaluation], Path]] = {
    "retrieval": lambda e: retrieval(e)[0],
    "linear": lambda e: linear(e, train_views=2)[0],
    "order": lambda e: order(e)[0],
}
FRAMES, STEP, BATCH = 8, 6, 30
VARIANT = Variant(alpha=0.5, rule=WindowRule("clip", FRAMES, STEP))
RESAMPLES = 5000
CONTRASTIVE = {"symmetric": True, "head": "mlp", "key_augment": "full"}
"""In the small regime contrastive methods have these settings, as in docs/evidence.md."""

FEW_EPOCHS = 5
"""Tasks that train all layers take this many epochs."""


def make_cache(folder: Path, given: Path | None) -> Path:
    """Make a cache of the clips with both splits and render VARIANT; a cache that is given is completed instead."""
    clips = pd.read_csv(SHARED / "interaction" / "clips.csv")
    manifest = pd.DataFrame({"video_id": clips["path"], "label": clips["label"], "class_name": clips["label_name"]})
    for split, train in zip(SPLITS, (1, 2), strict=True):
        manifest[split] = np.where(clips["set"] == train, "train", "test")
    folder.mkdir(parents=True, exist_ok=True)
    manifest.to_csv(folder / "manifest.csv", index=False)
    cache = given or folder / "cache"
    run_prep("encode", folder / "manifest.csv", "--root", SHARED / "interaction", "--out", cache)
    rule = ("--scope", "clip", "--clip-length", FRAMES, "--frame-step", STEP)
    run_prep("render", cache, "--alpha", VARIANT.alpha, *rule)
    return cache


def checkpoint(method: str, split: str, seed: int, cache: Path, arguments: argparse.Namespace) -> str:
    """Pre-train a model, or resume its training, and return the folder of the run; `random` needs no training."""
    if method == RANDOM:
        return RANDOM
    settings = {
        "cache": str(cache),
        "method": method,
        "split": split,
        "seed": seed,
        "size": arguments.size,
        "clip_length": FRAMES,
        "frame_step": STEP,
        "batch": BATCH,
        "epochs": arguments.epochs,
        "variant": [VARIANT.name] if method == "s2vc" else [],
        "pair": "same",
        "query_scale": [0.5, 1.0],
        "key_scale": [0.5, 1.0],
        "regime": arguments.regime,
        **(CONTRASTIVE if arguments.regime == "small" and method in ("moco", "s2vc") else {}),
    }
    out = arguments.out / "runs" / f"{method}-{split}-seed{seed}"
    run = prepare_run([settings], out, torch.device("cpu"))
    train_with_progress(run, torch.device("cpu"), Console())
    return str(out)


def evaluated(task: str, method: str, split: str, seed: int, cache: Path, arguments: argparse.Namespace) -> pd.Series:
    """Return, by video, whether its nearest neighbour or its predicted class was right, 0 or 1 (or a mean of both)."""
    made = arguments.out / "made" / f"{task}-{method}-{split}-seed{seed}.txt"
    if not made.exists():
        path = checkpoint(method, split, seed, cache, arguments)
        evaluated = load_evaluated_backbone(path, "r3d18", seed)
        size, results = arguments.size, arguments.out / "results"
        one = Evaluation(Cache(cache), path, evaluated, split, size, FRAMES, STEP, seed, results, Console())
        made.parent.mkdir(exist_ok=True)
        made.write_text(str(TASKS[task](one)))
    result = json.loads(Path(made.read_text()).read_text())
    if task == "retrieval":
        return pd.Series({video: float(rank == 0) for video, rank in result["ranks"]})
    right = pd.DataFrame(result["videos"]).assign(right=lambda v: (v["class"] == v["taken_for"]).astype(float))
    return right.groupby("video_id")["right"].mean()  # the task `order` tests each video twice


def metadata_baseline(clips: pd.DataFrame) -> pd.Series:
    """Return, by video, whether the nearest neighbour in the other set has its class.

    Distances are in width, height and length, standardised by the other set.
    """
    right = {}
    for train in (1, 2):
        known, asked = clips[clips["set"] == train], clips[clips["set"] != train]
        columns = ["width", "height", "frames"]
        mean, std = known[columns].mean(), known[columns].std()
        a, b = (((part[columns] - mean) / std).to_numpy() for part in (asked, known))
        nearest = ((a[:, None] - b[None]) ** 2).sum(axis=2).argmin(axis=1)
        right |= dict(
            zip(asked["path"], (known["label"].to_numpy()[nearest] == asked["label"]).astype(float), strict=True)
        )
    return pd.Series(right)


def interval(values: pd.Series, groups: pd.Series) -> str:
    """Return the mean in per cent and its 95 % bootstrap interval over groups of videos, as text."""
    parts = [values[groups.index[groups == g]].to_numpy() for g in groups.unique()]
    sums, counts = np.array([p.sum() for p in parts]), np.array([len(p) for p in parts])
    chosen = np.random.default_rng(0).integers(len(parts), size=(RESAMPLES, len(parts)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    told = f"{100 * values.mean():5.1f} ({100 * low:.1f} to {100 * high:.1f})"
    return told + (", no difference shown" if low <= 0 <= high and (values < 0).any() else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="One is half of the videos.")
    parser.add_argument("--regime", choices=["small", "paper"], default="small")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--size", type=int, default=48)
    arguments = parser.parse_args()
    print_machine()
    cache = make_cache(arguments.out, arguments.cache)
    clips = pd.read_csv(SHARED / "interaction" / "clips.csv")
    groups = pd.Series((clips["set"].astype(str) + "-" + clips["sequence"].astype(str)).to_numpy(), clips["path"])
    found: dict[tuple[str, str], pd.Series] = {}
    for task in TASKS:
        for method in METHODS:
            runs: list[Any] = [
                pd.concat([evaluated(task, method, split, seed, cache, arguments) for split in arguments.splits])
                for seed in range(arguments.seeds)
            ]
            found[task, method] = pd.concat(runs, axis=1).mean(axis=1)
    tested = found["retrieval", "moco"].index
    groups = groups[tested]
    print(f"\ntop-1 in per cent over {len(tested)} test videos, {groups.nunique()} sequences, {arguments.seeds} seeds")
    print(f"  metadata alone, nearest neighbour: {interval(metadata_baseline(clips)[tested], groups)}")
    for task in TASKS:
        for method in METHODS:
            print(f"  {task:<10} {method:<11} {interval(found[task, method], groups)}")
        for method in METHODS[2:]:
            gain = found[task, method] - found[task, "moco"]
            print(f"  {task:<10} {method} - moco: {interval(gain, groups)}")
    for method in METHODS:
        rest(method, cache, arguments)
    for analysis in ("similarity", "normality", "motion"):
        evaluate([analysis, str(cache), "--out", str(arguments.out / "results")], standalone_mode=False)


def rest(method: str, cache: Path, arguments: argparse.Namespace) -> None:
    """Run the tasks that train all layers, and saliency, once: on the first split, with seed 0."""
    split = arguments.splits[0]
    path = checkpoint(method, split, 0, cache, arguments)
    view = ["--size", arguments.size, "--frames", FRAMES, "--frame-step", STEP]
    common = [cache, path, "--split", split, "--backbone", "r3d18", *view, "--out", arguments.out / "results"]
    moco = checkpoint("moco", split, 0, cache, arguments)
    for command in (
        ["finetune", *common, "--epochs", FEW_EPOCHS, "--batch", BATCH],
        ["static-bias", *common, "--moco", moco, "--still-epochs", FEW_EPOCHS, "--batch", BATCH, "--train-views", 2],
        ["saliency", *common],
    ):
        print(f"\n{method}: {command[0]}", flush=True)
        evaluate([str(word) for word in command], standalone_mode=False)


if __name__ == "__main__":
    main()

"""Compare random weights, MoCo, S²VC and supervised pre-training on real actions, by the tasks of s2vc-eval.

python -m tests.benchmarks.comparison --out FOLDER [--actions street] [--regime small] [--epochs 100] [--seeds 1]

The data are clips of ../shared/data, see real_actions.py: runs train on one fold and test on the other, and the
reverse, and the results are pooled. The settings are small; in the small regime, contrastive runs are symmetric, since
others often lose what they have learned (docs/training.md). Finished runs are kept in FOLDER, so that the benchmark can
be stopped and run again. Intervals are by bootstrap over the recordings that clips were cut from, after averaging over
seeds. The metadata baseline uses no pixels: it is the nearest neighbour by size, length and frame rate of the files.
--every-task also fine-tunes and asks of static bias and saliency, once.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from s2vc.eval.cli import main as evaluate
from s2vc.eval.evaluated_backbone import RANDOM, load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.tasks import linear, order, retrieval
from s2vc.pipeline.cache import Cache
from s2vc.training.cli.session import train_with_progress
from s2vc.training.prepare import prepare_run
from tests.benchmarks.measure import print_machine
from tests.benchmarks.real_actions import FRAMES, REAL_ACTIONS, SPLITS, RealActions

METHODS = ("random", "moco", "s2vc", "supervised")
TASKS: dict[str, Callable[[Evaluation], Path]] = {
    "retrieval": lambda e: retrieval(e)[0],
    "linear": lambda e: linear(e, train_views=2)[0],
    "order": lambda e: order(e)[0],
}
RESAMPLES = 5000
CONTRASTIVE = {"symmetric": True, "head": "mlp", "key_augment": "full"}
"""In the small regime contrastive methods have these settings, as in docs/evidence.md."""

FEW_EPOCHS = 5
"""Tasks that train all layers take this many epochs."""


@dataclass(frozen=True)
class Comparison:
    """Holds what all runs of a comparison share. out: the folder for runs and results."""

    actions: RealActions
    cache: Path
    out: Path
    regime: str
    epochs: int
    size: int

    def checkpoint(self, method: str, split: str, seed: int) -> str:
        """Pre-train a model, or resume its training, and return the folder of the run; `random` needs no training."""
        if method == RANDOM:
            return RANDOM
        settings = {
            "cache": str(self.cache),
            "method": method,
            "split": split,
            "seed": seed,
            "size": self.size,
            "clip_length": FRAMES,
            "frame_step": self.actions.step,
            "batch": self.actions.batch,
            "epochs": self.epochs,
            "variant": [self.actions.variant.name] if method == "s2vc" else [],
            "pair": "same",
            "query_scale": [0.5, 1.0],
            "key_scale": [0.5, 1.0],
            "regime": self.regime,
            **(CONTRASTIVE if self.regime == "small" and method in ("moco", "s2vc") else {}),
        }
        out = self.out / "runs" / f"{method}-{split}-seed{seed}"
        run = prepare_run([settings], out, torch.device("cpu"))
        train_with_progress(run, torch.device("cpu"), Console())
        return str(out)

    def evaluated(self, task: str, method: str, split: str, seed: int) -> pd.Series:
        """Return, by video, whether its nearest neighbour or its class was right, 0 or 1 (or a mean of both)."""
        made = self.out / "made" / f"{task}-{method}-{split}-seed{seed}.txt"
        if not made.exists():
            path = self.checkpoint(method, split, seed)
            evaluated = load_evaluated_backbone(path, "r3d18", seed)
            window = (self.size, FRAMES, self.actions.step)
            results = self.out / "results"
            one = Evaluation(Cache(self.cache), path, evaluated, split, *window, seed, results, Console())
            made.parent.mkdir(exist_ok=True)
            made.write_text(str(TASKS[task](one)))
        result = json.loads(Path(made.read_text()).read_text())
        if task == "retrieval":
            return pd.Series({video: float(rank == 0) for video, rank in result["ranks"]})
        right = pd.DataFrame(result["videos"]).assign(right=lambda v: (v["class"] == v["taken_for"]).astype(float))
        return right.groupby("video_id")["right"].mean()  # the task `order` tests each video twice

    def every_task(self, method: str) -> None:
        """Run the tasks that train all layers, and saliency, once: on the first split, with seed 0."""
        path, moco = (self.checkpoint(m, SPLITS[0], 0) for m in (method, "moco"))
        view = ["--size", self.size, "--frames", FRAMES, "--frame-step", self.actions.step]
        common = [self.cache, path, "--split", SPLITS[0], "--backbone", "r3d18", *view, "--out", self.out / "results"]
        training = ["--batch", self.actions.batch]
        few = ["--still-epochs", FEW_EPOCHS, "--train-views", 2]
        for command in (
            ["finetune", *common, "--epochs", FEW_EPOCHS, *training],
            ["static-bias", *common, "--moco", moco, *few, *training],
            ["saliency", *common],
        ):
            print(f"\n{method}: {command[0]}", flush=True)
            evaluate([str(word) for word in command], standalone_mode=False)


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--actions", choices=list(REAL_ACTIONS), default="interaction")
    parser.add_argument("--regime", choices=["small", "paper"], default="small")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--every-task", action="store_true")
    arguments = parser.parse_args()
    print_machine()
    actions = REAL_ACTIONS[arguments.actions]
    cache = actions.make_cache(arguments.out, arguments.cache)
    comparison = Comparison(actions, cache, arguments.out, arguments.regime, arguments.epochs, arguments.size)
    compare(comparison, arguments.seeds)
    if arguments.every_task:
        for method in METHODS:
            comparison.every_task(method)
        for analysis in ("similarity", "normality", "motion"):
            evaluate([analysis, str(cache), "--out", str(arguments.out / "results")], standalone_mode=False)


def compare(comparison: Comparison, seeds: int) -> None:
    """Do all runs, and print what each method reaches, and what it has over MoCo."""
    found: dict[tuple[str, str], pd.Series] = {}
    for task in TASKS:
        for method in METHODS:
            runs = [
                pd.concat([comparison.evaluated(task, method, split, seed) for split in SPLITS])
                for seed in range(seeds)
            ]
            found[task, method] = pd.concat(runs, axis=1).mean(axis=1)
    tested = found["retrieval", "moco"].index
    groups = comparison.actions.clips["group"][tested]
    print(f"\ntop-1 in per cent over {len(tested)} test videos, {groups.nunique()} recordings, {seeds} seeds")
    baseline = comparison.actions.metadata_baseline()[tested]
    print(f"  metadata alone, nearest neighbour: {interval(baseline, groups)}")
    for task in TASKS:
        for method in METHODS:
            print(f"  {task:<10} {method:<11} {interval(found[task, method], groups)}")
        for method in METHODS[2:]:
            gain = found[task, method] - found[task, "moco"]
            print(f"  {task:<10} {method} - moco: {interval(gain, groups)}")
        gain = found[task, "s2vc"] - found[task, RANDOM]
        print(f"  {task:<10} s2vc - random: {interval(gain, groups)}")


if __name__ == "__main__":
    main()

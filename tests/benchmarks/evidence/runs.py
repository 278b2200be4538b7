"""Do the runs of the study by the real commands: render the variant of the keys, train, and retrieve."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s2vc.eval.results import read_table
from s2vc.pipeline.render_command import how_to_render
from tests.benchmarks.evidence.arms import CLIP, TRAINING, Arm
from tests.benchmarks.evidence.table import Row

COMMANDS = {
    "s2vc-prep": "s2vc.pipeline.cli",
    "s2vc-train": "s2vc.training.cli",
    "s2vc-eval": "s2vc.eval.cli",
}

WINDOW = ("--frames", CLIP[1], "--frame-step", CLIP[3], "--size", TRAINING[TRAINING.index("--size") + 1])
"""Features are computed of windows that are as long as the training clips."""


def call(command: str, *arguments: object) -> str:
    """Run a command to its end, with its progress on the screen; return what it printed.

    Raises CalledProcessError if it fails.
    """
    print(f"$ {command} {' '.join(map(str, arguments))}", flush=True)
    line = [sys.executable, "-c", f"from {COMMANDS[command]} import main; main()", *map(str, arguments)]
    printed = []
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            print("  " + text.rstrip(), flush=True)
            printed.append(text)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, line)
    return "".join(printed)


@dataclass(frozen=True)
class Study:
    """Describes a study, its folder and its size, and does its runs.

    work: the folder. shift: RHO of the set. per_class, test_per_class: videos of each motion in training and in each
    test part. tests: the test parts. frames: of each video. epochs: of training. machine: a description for the rows.
    """

    work: Path
    shift: float
    per_class: int
    test_per_class: int
    tests: tuple[str, ...]
    frames: int
    epochs: int
    machine: str

    @property
    def cache(self) -> Path:
        return self.work / f"cache-{self.shift:g}"

    @property
    def steps(self) -> int:
        """Return the number of training steps of a run."""
        batch = int(TRAINING[TRAINING.index("--batch") + 1])
        return self.per_class * 12 // batch * self.epochs

    def prepare(self) -> None:
        """Draw the set and encode it, unless that is done already."""
        folder = self.work / f"set-{self.shift:g}"
        tests = [word for part in self.tests for word in ("--test", part)]
        counts = ("--per-class", self.per_class, "--test-per-class", self.test_per_class, *tests)
        call("s2vc-prep", "sample", folder, *counts, "--frames", self.frames, "--shift", self.shift)
        root = folder / "videos"
        size = ("--size", "96x128", "--precision", "float32")
        call("s2vc-prep", "encode", folder / "manifest.csv", "--root", root, "--out", self.cache, *size)

    def run(self, arm: Arm, seed: int, parts: Sequence[str]) -> list[Row]:
        """Train an arm with a seed, and return its rows on these test parts of the set."""
        checkpoint, seconds = "random", 0.0
        if arm.method != "random":
            checkpoint, seconds = self._train(arm, seed)
        rows = []
        for part in parts:
            for label in ("label", "scene"):
                outcomes = self._retrieve(checkpoint, seed, part, label)
                value = outcomes.count("1") / len(outcomes)
                steps = self.steps if arm.method != "random" else 0
                where = (steps, part, "motion" if label == "label" else label)
                rows.append(Row(arm.name, self.shift, seed, *where, value, outcomes, round(seconds, 1), self.machine))
        return rows

    def _train(self, arm: Arm, seed: int) -> tuple[str, float]:
        """Render the arm's variant and train; return the folder of the run and the seconds of training."""
        keys: tuple[str, ...] = ()
        if arm.variant:
            call(*shlex.split(how_to_render(self.cache, arm.variant)))
            keys = ("--variant", arm.variant.name)
        name = "-".join(
            [arm.method, *keys[1:], *(o.lstrip("-") for o in arm.options), f"{self.shift:g}", f"seed{seed}"]
        )
        folder = self.work / "runs" / name
        options = (*TRAINING, "--method", arm.method, *keys, *arm.options, "--epochs", self.epochs, "--seed", seed)
        started = time.perf_counter()
        call("s2vc-train", self.cache, *options, "--out", folder)
        return str(folder), time.perf_counter() - started

    def _retrieve(self, checkpoint: str, seed: int, part: str, label: str) -> str:
        """Return a digit for each test video, in the order of their ids: 1 if its nearest training video has its class,
        else 0."""
        results = self.work / "results"
        where = ("--split", f"split_{part}", "--label", label, "--seed", seed, "--out", results)
        call("s2vc-eval", "retrieval", self.cache, checkpoint, *WINDOW, *where)
        newest = read_table(results)["result"].iloc[-1]
        ranks = json.loads((results / f"{newest}.json").read_text())["ranks"]
        return "".join("1" if rank == 0 else "0" for _, rank in sorted(ranks))

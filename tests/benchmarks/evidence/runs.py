"""Do the runs of the study by the real commands: render the variant of the keys, train, and evaluate."""

import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from s2vc.eval.results_folder import read_table
from s2vc.manifests.motions import MOTIONS
from s2vc.pipeline.render_command import how_to_render
from tests.benchmarks.evidence.arms import ORACLE, OTHER_FLOWS, SIZE, TRAINING, Arm
from tests.benchmarks.evidence.oracle import make_oracle
from tests.benchmarks.evidence.table import Measure, Row

COMMANDS = {
    "s2vc-prep": "s2vc.pipeline.cli",
    "s2vc-train": "s2vc.training.cli",
    "s2vc-eval": "s2vc.eval.cli",
}

LABELS = {"motion": "label", "scene": "scene"}
"""The labels are found in these columns of the manifest."""


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
            if not text.startswith("Next:"):  # The study goes on by itself.
                print("  " + text.rstrip(), flush=True)
            printed.append(text)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, line)
    return "".join(printed)


@dataclass(frozen=True)
class Study:
    """Describes a study on one set, its folder and its size, and does its runs.

    work: the folder. shift: RHO of the set. per_class, test_per_class: videos of each motion in training and in each
    test part. tests: the test parts. frames: of each video. epochs: of training. machine: a description for the rows.
    encoded: the caches that this process has encoded, or found encoded.
    """

    motions: ClassVar[int] = len(MOTIONS)

    work: Path
    shift: float
    per_class: int
    test_per_class: int
    tests: tuple[str, ...]
    frames: int
    epochs: int
    machine: str
    encoded: set[Path] = field(default_factory=set, compare=False)

    @property
    def name(self) -> str:
        """Return what tells the set's folders from those of other sets."""
        return f"{self.shift:g}"

    @property
    def videos(self) -> Path:
        return self.work / f"set-{self.name}"

    @property
    def steps(self) -> int:
        """Return the number of training steps of a run."""
        batch = int(TRAINING[TRAINING.index("--batch") + 1])
        return self.per_class * self.motions // batch * self.epochs

    def cache(self, source: str = "") -> Path:
        """Return the path of the cache of a source, see Arm."""
        return self.work / "-".join(["cache", self.name, *filter(None, [source])])

    def prepare(self, arm: Arm) -> None:
        """Draw the set and encode it with what the arm needs; what is done already is not done again."""
        cache = self._encode(arm.source if arm.source in OTHER_FLOWS else "")
        if arm.source == ORACLE:
            assert arm.variant is not None
            make_oracle(self.cache(), self.cache(ORACLE), arm.variant, self.videos / "masks")
        elif arm.variant is not None:
            call(*shlex.split(how_to_render(cache, arm.variant)))

    def _encode(self, flow: str) -> Path:
        """Draw the set, and encode it with a flow, empty for the default one; once in a process. Return the cache."""
        cache = self.cache(flow)
        if cache in self.encoded:
            return cache
        self.draw()
        manifest = (self.videos / "manifest.csv", "--root", self.videos / "videos")
        size = ("--size", "96x128", "--precision", "float32", "--flow", flow or "default")
        call("s2vc-prep", "encode", *manifest, "--out", cache, *size)
        self.encoded.add(cache)
        return cache

    def draw(self) -> None:
        """Draw the set, unless it is there."""
        tests = [word for part in self.tests for word in ("--test", part)]
        counts = ("--per-class", self.per_class, "--test-per-class", self.test_per_class, *tests)
        call("s2vc-prep", "sample", self.videos, *counts, "--frames", self.frames, "--shift", self.shift)

    def run(self, arm: Arm, seed: int, measures: Sequence[Measure]) -> list[Row]:
        """Train an arm with a seed, and return a row for each measure."""
        checkpoint, seconds = "random", 0.0
        if arm.method != "random":
            checkpoint, seconds = self._train(arm, seed)
        steps = self.steps if arm.method != "random" else 0
        rows = []
        for measure in measures:
            outcomes = self._evaluate(arm, checkpoint, seed, measure)
            row = Row(arm.name, self.shift, seed, steps, *measure, 0.0, outcomes, round(seconds, 1), self.machine)
            rows.append(replace(row, value=float(row.hits.mean())))
        return rows

    def _train(self, arm: Arm, seed: int) -> tuple[str, float]:
        """Train, unless the run has ended; return the folder of the run and the seconds that it took here."""
        keys = ("--variant", arm.variant.name) if arm.variant else ()
        folder = self.run_folder(arm, seed)
        options = (*TRAINING, "--method", arm.method, *keys, *arm.options, "--epochs", self.epochs, "--seed", seed)
        started = time.perf_counter()
        call("s2vc-train", self.cache(arm.source), *options, "--out", folder)
        return str(folder), time.perf_counter() - started

    def run_folder(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run, which its settings name."""
        variant = arm.variant.name if arm.variant else ""
        words = [arm.method, arm.source, variant, *(o.lstrip("-") for o in arm.options), self.name]
        return self.work / "runs" / "-".join(filter(None, [*words, f"{self.steps}steps", f"seed{seed}"]))

    def _evaluate(self, arm: Arm, checkpoint: str, seed: int, measure: Measure) -> str:
        """Return a digit for each test video, in the order of their ids: how many of its questions were answered
        right."""
        results = self.work / "results"
        window = ("--frames", arm.window[0], "--frame-step", arm.window[1], *SIZE)
        label = ("--label", LABELS[measure.label]) if measure.label in LABELS else ()
        where = ("--split", f"split_{measure.part}", *label, "--seed", seed, "--out", results)
        task, *how = measure.task.split()
        call("s2vc-eval", task, self.cache(), checkpoint, *how, *window, *where)
        newest = read_table(results)["result"].iloc[-1]
        details = json.loads((results / f"{newest}.json").read_text())
        right: Counter[str] = Counter()
        if task == "retrieval":
            right.update({video: int(rank == 0) for video, rank in details["ranks"]})
        else:
            for video in details["videos"]:
                right[video["video_id"]] += video["class"] == video["taken_for"]
        return "".join(str(right[video]) for video in sorted(right))

"""Run every reader of a cache, one after another, in a process of its own; report their answers and memory.

`python -m tests.support.all_readers CACHE OUT` prints a JSON object with the exit code and output of each reader, the
peak of the process's memory in bytes, and the seconds. Exit code -1 stands for an error that is not the user's mistake
and would be shown as a traceback.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIANTS = ("alpha0.5-zero-video", "alpha0.5-zero-clip16")


@dataclass(frozen=True)
class Answer:
    """Holds what a reader answered. exit_code: 0 to 3, or -1 for an error that is not the user's mistake. output: its
    text."""

    exit_code: int
    output: str


@dataclass(frozen=True)
class Reading:
    """Holds the answers by reader, the peak of memory in bytes, and the seconds of all readers without the start."""

    answers: dict[str, Answer]
    peak: int
    seconds: float


def read_everything(cache: Path, out: Path) -> Reading:
    """Run all readers on a cache in a process of its own; what they write goes to the folder `out`."""
    command = [sys.executable, "-m", "tests.support.all_readers", str(cache), str(out)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout)
    answers = {name: Answer(*answer) for name, answer in told["answers"].items()}
    return Reading(answers, told["peak"], told["seconds"])


def main(cache: Path, out: Path) -> None:
    """Run the readers in this process and print their answers as JSON."""
    answers, started = {}, time.monotonic()
    for name, reader in readers(cache, out).items():
        try:
            answers[name] = reader()
        except BaseException as error:
            answers[name] = (-1, f"{type(error).__name__}: {error}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"answers": answers, "peak": peak, "seconds": time.monotonic() - started}))


def readers(cache: Path, out: Path) -> dict[str, Callable[[], tuple[int, str]]]:
    """Return the readers by name; each returns its exit code and output."""

    def command(*arguments: object) -> Callable[[], tuple[int, str]]:
        def run() -> tuple[int, str]:
            from click.testing import CliRunner

            from s2vc.pipeline.cli import main

            result = CliRunner().invoke(main, [str(a) for a in arguments])
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            return result.exit_code, result.output

        return run

    def pairs() -> tuple[int, str]:
        from s2vc.manifests.errors import UserError
        from s2vc.training.clips import PairClips

        try:
            clips = PairClips(cache, VARIANTS[1:], 16, split="all")
            for item in range(len(clips)):
                clips[item]
        except UserError as error:
            return 2, str(error)
        return 0, ""

    def worker() -> tuple[int, str]:
        """Render shard 0 as a worker does; an error that a job reports as a line gives exit code 1."""
        from s2vc.manifests.errors import UserError
        from s2vc.pipeline.cache.cache_storage import LocalStorage
        from s2vc.pipeline.cache.settings import read_settings
        from s2vc.pipeline.stages.render_shard import render_shard
        from s2vc.pipeline.variants import Variant

        try:
            storage = LocalStorage(cache)
            render_shard(storage.layout, read_settings(storage), 0, [Variant(alpha=0.3)], "cpu")
        except (UserError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
            return 1, str(error)
        return 0, ""

    def shares() -> tuple[int, str]:
        """Read what the rendered variants keep, as the summaries of a render and of a sweep do."""
        from s2vc.manifests.errors import UserError
        from s2vc.pipeline.cache.cache_storage import LocalStorage
        from s2vc.pipeline.cache.renderings import kept_share
        from s2vc.pipeline.variants import Variant

        try:
            for name in VARIANTS:
                kept_share(LocalStorage(cache), Variant.parse(name))
        except UserError as error:
            return 2, str(error)
        return 0, ""

    exports: dict[str, Any] = {
        f"export {name}": command("export", cache, "--variant", name, "--out", out / name)
        for name in ("original", *VARIANTS)
    }
    return {
        "info": command("info", cache),
        "verify": command("verify", cache, "--quick"),
        "preview": command("preview", cache, "--alpha", 0.5, "--alpha", 0.4, "--out", out / "p.png"),
        "plan": command("render", cache, "--alpha", 0.35, "--scope", "clip", "--dry-run"),
        **exports,
        "pairs": pairs,
        "shares": shares,
        "worker": worker,
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

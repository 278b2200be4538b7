"""A sweep as a person sees it: what it will cost, progress, tables on disk, and how it ended."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from s2vc.eval.defaults import VALIDATION
from s2vc.eval.sweep.cost import cost_of_trial, plan_run
from s2vc.eval.sweep.plan import SweepFolder, Trial, example_settings, unfinished_trials
from s2vc.eval.sweep.protocol import Protocol, describe_choice
from s2vc.eval.sweep.run import TrialResources, record_kept_shares, remove_variant, run_trials
from s2vc.eval.sweep.table import SPLITS_NOTE, choice_notes, main_numbers, markdown, write_tables
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.console.exit_codes import EXIT_UNFINISHED, Exit
from s2vc.pipeline.console.progress import clock, count, progress, size
from s2vc.pipeline.console.run_jobs import run_render
from s2vc.pipeline.console.terminal import print_json, print_paths, print_result
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.variants import Variant
from s2vc.training.prepare import describe_regime


@dataclass(frozen=True)
class Sweep:
    """Holds a sweep that is planned: its arms and trials, what these have in common, how they are evaluated, and what a
    trial gets of the machine."""

    folder: SweepFolder
    cache: Cache
    variants: Sequence[Variant]
    trials: Sequence[Trial]
    shared: dict[str, Any]
    protocol: Protocol
    resources: TrialResources
    address: str | None
    console: Console
    stop: Callable[[], bool]

    def print_cost(self, remaining: Sequence[Trial], evict_used: bool) -> dict[str, Any]:
        """Print what remains, and its bytes and hours, from what this machine did just now.

        Returns the document of a dry run: bytes, and seconds, of all that remains and of one run.
        """
        self._print_runs(remaining)
        needed, resources = {t.variant for t in remaining}, self.resources
        missing = [v for v in self.variants if v.name in needed and self.cache.unrendered_shards(v)]
        torch.set_num_threads(resources.cpus)
        device, settings = choose_device(resources.device), example_settings(self.shared)
        cost = cost_of_trial(self.cache, missing, settings, self.protocol, device)
        rendered = cost.variant_bytes // max(len(missing), 1) if evict_used else cost.variant_bytes
        rounds = len(remaining) / resources.parallel_trials
        seconds = cost.render_seconds + rounds * (cost.train_seconds + cost.test_seconds)
        self.console.print(
            f"about {size(rendered)} for {count(len(missing), 'variant')} to render"
            + (", one at a time" if evict_used and missing else "")
            + f", {size(cost.run_bytes * len(remaining))} for checkpoints; {clock(seconds)} in all: "
            f"{clock(cost.train_seconds)} to train and {clock(cost.test_seconds)} to evaluate each (measured just now, "
            "on one trial's part of this machine)",
        )
        return {
            "folder": str(self.folder.root),
            "runs": [trial.name for trial in self.trials],
            "runs_done": len(self.trials) - len(remaining),
            "runs_at_a_time": resources.parallel_trials,
            "cpus_of_a_run": resources.cpus,
            "gpus_of_a_run": resources.gpus,
            "variants_to_render": [variant.name for variant in missing],
            "render_bytes": rendered,
            "checkpoint_bytes": cost.run_bytes * len(remaining),
            "seconds": seconds,
            "train_seconds_of_a_run": cost.train_seconds,
            "test_seconds_of_a_run": cost.test_seconds,
        }

    def _print_runs(self, remaining: Sequence[Trial]) -> None:
        """Print how many runs there are, what each gets of the machine, their regime, and what ranks the arms."""
        splits, resources = len({t.split for t in self.trials}), self.resources
        self.console.print(
            f"{count(len(self.trials), 'run')}: {count(len(self.variants), 'variant')} and MoCo"
            + (f", on {splits} splits" if splits > 1 else "")
            + f", {len(self.trials) - len(remaining)} done before; "
            f"{resources.parallel_trials} at a time, each with {count(resources.cpus, 'CPU')}"
            + (", 1 GPU" if resources.gpus else ""),
        )
        resolved, videos, _ = plan_run(example_settings(self.shared))
        self.console.print(describe_regime(resolved, videos, automatic=False))
        if self.protocol.select == VALIDATION:
            self.console.print(describe_choice(self.protocol.tasks))

    def run(self, remaining: Sequence[Trial], evict_used: bool) -> dict[str, str]:
        """Run what remains, variant by variant where space is short, and give the reasons of the trials that failed, by
        name."""
        if not evict_used:
            return self._trials([v for v in self.variants if v.name in {t.variant for t in remaining}], remaining)
        failed = self._trials([], [t for t in remaining if t.variant is None])
        for variant in self.variants:
            mine = [t for t in remaining if t.variant == variant.name]
            if mine:
                failed |= self._trials([variant], mine)
            all_of_it = [t for t in self.trials if t.variant == variant.name]
            done = not unfinished_trials(self.folder, all_of_it, self.protocol)
            if done and variant.name in self.cache.storage.variant_names():
                remove_variant(self.cache, variant)
                self.console.print(f"{variant.name} is used, and dropped from the cache")
        return failed

    def _trials(self, variants: Sequence[Variant], remaining: Sequence[Trial]) -> dict[str, str]:
        """Render what these trials need and is not there, and run them."""
        if not remaining or self.stop():
            return {}
        missing = [v for v in variants if self.cache.unrendered_shards(v)]
        if missing:
            run_render(self.cache.storage, missing, self.address, None, self.console, device=self.resources.device)
        if self.stop():
            return {}
        record_kept_shares(self.folder, self.cache, variants)
        settings, _, steps = plan_run(example_settings(self.shared))
        done = dict.fromkeys(remaining, 0)
        with progress("sweep", steps * len(remaining), "steps", self.console, counted="clips") as advance:

            def show(trial: Trial, at: int, evaluated: bool) -> None:
                new, done[trial] = at - done[trial], at
                trained = sum(n >= steps for n in done.values())
                advance(new, new * settings.batch, f"{trained} of {len(remaining)} runs trained, latest {trial.name}")
                if evaluated:
                    write_tables(self.folder, self.trials, self.variants, self.protocol)

            return run_trials(self.folder, remaining, self.shared, self.protocol, self.resources, show, self.stop)


def print_end(
    folder: SweepFolder,
    trials: Sequence[Trial],
    variants: Sequence[Variant],
    protocol: Protocol,
    failed: dict[str, str],
    console: Console,
) -> None:
    """Print the table, which arm was chosen, what was written, and which trials failed; leave with exit code 1 where
    one did."""
    means = write_tables(folder, trials, variants, protocol)
    if not means.empty:
        print_result(console, markdown(means, main_numbers(means)))
        for note in [*choice_notes(means), *([SPLITS_NOTE] if "splits" in means else [])]:
            console.print(note)
    for name, reason in failed.items():
        print_result(console, f"{name} failed: {reason}")
    print_paths(console, folder.table, folder.summary, folder.curve)
    arms = json.loads(means.to_json(orient="records"))  # pandas writes null for what is not known
    print_json({"folder": str(folder.root), "table": str(folder.table), "arms": arms, "failed": failed})
    if failed:
        console.print("Run the same command again to try those that failed once more.")
        raise Exit(EXIT_UNFINISHED)

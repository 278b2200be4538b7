"""`s2vc-sweep`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

from s2vc.eval.sweep.cost import cost_of_trial, plan_run
from s2vc.eval.sweep.plan import (
    PER_TRIAL_SETTINGS,
    SweepFolder,
    Trial,
    example_settings,
    plan_trials,
    shared_settings,
    unfinished_trials,
)
from s2vc.eval.sweep.run import (
    TrialResources,
    cpus_of_nodes,
    record_kept_shares,
    remove_variant,
    run_trials,
    share_resources,
)
from s2vc.eval.sweep.table import main_numbers, markdown, write_tables
from s2vc.eval.sweep.trial import TASKS
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cluster.connection import cluster, gpus
from s2vc.pipeline.console.commands import OneCommand
from s2vc.pipeline.console.endings import stopping
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED, Exit
from s2vc.pipeline.console.options import EXISTING_FILE, FOLDER, address_option
from s2vc.pipeline.console.progress import clock, progress, size
from s2vc.pipeline.console.run_jobs import run_render
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.variant_options import wanted_variants, window_rule
from s2vc.pipeline.device import choose_device
from s2vc.pipeline.static_cues import STRATEGIES
from s2vc.pipeline.variants import Variant
from s2vc.training.cli.run import settings_layers, settings_options
from s2vc.training.dpc_settings import DPC_SETTINGS
from s2vc.training.prepare import describe_regime
from s2vc.training.setting_checks import SUPERVISED_SETTINGS
from s2vc.training.settings import PRESETS


def comma_separated(kind: type) -> Any:
    """Build a callback that converts `0.1,0.2` -> (0.1, 0.2)."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Any, ...]:
        try:
            return (
                tuple(dict.fromkeys(kind(part.strip()) for part in value.split(",") if part.strip())) if value else ()
            )
        except ValueError:
            raise click.BadParameter(f"{value!r} is no list such as 0.1,0.3,0.5") from None

    return convert


@click.command("s2vc-sweep", cls=OneCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("cache")
@click.option("--alphas", callback=comma_separated(float), metavar="A,B,…", help="Such as 0.1,0.3,0.5,0.7,0.9.")
@click.option(
    "--keeps", callback=comma_separated(float), metavar="Q,R,…", help="Shares of latents to keep, such as 0.1,0.2."
)
@click.option("--strategies", callback=comma_separated(str), default="zero", help=f"Of {', '.join(STRATEGIES)}.")
@click.option("--scope", type=click.Choice(["video", "clip"]), default="video", help="As `s2vc-prep render` has it.")
@click.option("--seeds", type=click.IntRange(1), default=3, help="Runs of each, with seeds 0 to N-1.  [default: 3]")
@click.option("--eval", "tasks", callback=comma_separated(str), default="retrieval", help=f"Of {', '.join(TASKS)}.")
@click.option("--out", type=FOLDER, default=None, help="Folder of the sweep.  [default: sweeps/CACHE]")
@click.option("--cpus-per-trial", type=click.IntRange(1), help="[default: CPUs over the trials that fit at a time]")
@click.option("--evict", "evict_used", is_flag=True, help="Render one variant at a time, and drop it once it is used.")
@click.option("--dry-run", is_flag=True, help="Print bytes and hours, and stop there.")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The paper's regime, epochs and queue for a dataset.")
@click.option("--config", type=EXISTING_FILE, help="YAML file of settings of the runs; flags go over it.")
@address_option
@settings_options(without=(*PER_TRIAL_SETTINGS, *SUPERVISED_SETTINGS, *DPC_SETTINGS, "flow"))
def main(
    cache: str,
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    strategies: tuple[str, ...],
    scope: str,
    seeds: int,
    tasks: tuple[str, ...],
    out: Path | None,
    cpus_per_trial: int | None,
    evict_used: bool,
    dry_run: bool,
    preset: str | None,
    config: Path | None,
    ray_address: str | None,
    **given: Any,
) -> None:
    """Which alpha is worth most on CACHE? Trains on every variant, and MoCo without S²VC, with several seeds each,
    evaluates all, and writes one table (CSV, Markdown) and the paper's Fig. 3 curve.

    Bytes and hours are printed first. What is missing is rendered. Stopped and run again, it goes on where it was. The
    options below --ray-address are those of `s2vc-train`, for all runs.
    """
    console = make_console()
    for name, wanted, known in (("strategy", strategies, STRATEGIES), ("task", tasks, tuple(TASKS))):
        if wrong := [w for w in wanted if w not in known]:
            raise UserError(f"there is no {name} {wrong[0]!r}; there are {', '.join(known)}")
    opened = Cache(cache, given["local_cache"] or "", given["local_cache_size"] or "")
    shared = shared_settings(settings_layers(preset, config, given), opened)
    clip = (shared["clip_length"], shared["frame_step"], None) if scope == "clip" else (None, None, None)
    variants = wanted_variants(alphas, keeps, strategies, 1, 0, window_rule(scope, *clip))
    folder = SweepFolder(out or Path("sweeps") / Path(opened.storage.location).name)
    trials = plan_trials(variants, seeds)
    remaining = unfinished_trials(folder, trials, tasks)
    if not remaining:
        console.print(f"{len(trials)} runs, all done before")
        print_end(folder, trials, variants, {}, console)
        return
    folder.check(opened, shared)
    with cluster(ray_address, None), stopping(console) as stop:
        resources = share_resources(cpus_of_nodes(), gpus(), len(remaining), cpus_per_trial)
        print_cost(opened, variants, trials, remaining, shared, tasks, resources, evict_used, console)
        if dry_run:
            return
        folder.open(opened, shared)
        sweep = Sweep(folder, opened, variants, trials, shared, tasks, resources, ray_address, console, stop)
        failed = sweep.run(remaining, evict_used)
        stopped = stop() and unfinished_trials(folder, trials, tasks)
    print_end(folder, trials, variants, failed, console)
    if stopped:
        console.print("Stopped. What is finished is kept: run the same command again to go on.")
        raise Exit(EXIT_INTERRUPTED)


def print_cost(
    cache: Cache,
    variants: Sequence[Variant],
    trials: Sequence[Trial],
    remaining: Sequence[Trial],
    shared: dict[str, Any],
    tasks: Sequence[str],
    resources: TrialResources,
    evict_used: bool,
    console: Console,
) -> None:
    """Print the regime of the runs, and bytes and hours of what remains, from what this machine did just now."""
    needed = {t.variant for t in remaining}
    missing = [v for v in variants if v.name in needed and cache.unrendered_shards(v)]
    console.print(
        f"{len(trials)} runs: {len(variants)} variants and MoCo, {len(trials) - len(remaining)} done before; "
        f"{resources.parallel_trials} at a time, each with {resources.cpus} CPUs"
        + (", 1 GPU" if resources.gpus else ""),
    )
    resolved, videos, _ = plan_run(example_settings(shared))
    console.print(describe_regime(resolved, videos, automatic=False))
    torch.set_num_threads(resources.cpus)
    cost = cost_of_trial(cache, missing, example_settings(shared), tasks, choose_device())
    rendered = cost.variant_bytes // max(len(missing), 1) if evict_used else cost.variant_bytes
    rounds = len(remaining) / resources.parallel_trials
    seconds = cost.render_seconds + rounds * (cost.train_seconds + cost.test_seconds)
    console.print(
        f"about {size(rendered)} for {len(missing)} variants to render"
        + (", one at a time" if evict_used and missing else "")
        + f", {size(cost.run_bytes * len(remaining))} for checkpoints; {clock(seconds)} in all: "
        f"{clock(cost.train_seconds)} to train and {clock(cost.test_seconds)} to evaluate each (measured just now, on "
        "one trial's part of this machine)",
    )


@dataclass(frozen=True)
class Sweep:
    """Runs the trials of a sweep, variant by variant where space is short, else all together."""

    folder: SweepFolder
    cache: Cache
    variants: Sequence[Variant]
    trials: Sequence[Trial]
    shared: dict[str, Any]
    tasks: Sequence[str]
    resources: TrialResources
    address: str | None
    console: Console
    stop: Callable[[], bool]

    def run(self, remaining: Sequence[Trial], evict_used: bool) -> dict[str, str]:
        """Run what remains, and give the reasons of the trials that failed, by name."""
        if not evict_used:
            return self._trials([v for v in self.variants if v.name in {t.variant for t in remaining}], remaining)
        failed = self._trials([], [t for t in remaining if t.variant is None])
        for variant in self.variants:
            mine = [t for t in remaining if t.variant == variant.name]
            if mine:
                failed |= self._trials([variant], mine)
            done = not unfinished_trials(self.folder, [t for t in self.trials if t.variant == variant.name], self.tasks)
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
            run_render(self.cache.storage, missing, self.address, None, self.console)
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
                    write_tables(self.folder, self.trials, self.variants)

            return run_trials(self.folder, remaining, self.shared, self.tasks, self.resources, show, self.stop)


def print_end(
    folder: SweepFolder, trials: Sequence[Trial], variants: Sequence[Variant], failed: dict[str, str], console: Console
) -> None:
    """Print the table, what was written, and which trials failed; leave with exit code 1 where one did."""
    means = write_tables(folder, trials, variants)
    if not means.empty:
        text = markdown(means, main_numbers(means))
        console.print(text)
    for name, reason in failed.items():
        console.print(f"{name} failed: {reason}")
    console.print(f"{folder.table}, {folder.summary.name}, {folder.curve.name}")
    if failed:
        console.print("Run the same command again to try those that failed once more.")
        raise Exit(EXIT_UNFINISHED)


if __name__ == "__main__":
    main(prog_name="s2vc-sweep")

"""Plan a sweep by the options of its command line, print what it will cost, and run it."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from s2vc.eval.cli.sweep_session import Sweep, print_end
from s2vc.eval.defaults import (
    ALL_SPLITS,
    PROTOCOL_FIELDS,
)
from s2vc.eval.sweep.plan import SweepFolder, plan_trials, shared_settings, unfinished_trials
from s2vc.eval.sweep.protocol import (
    TASKS,
    Protocol,
    check_evaluated_videos,
    choose_selection,
    evaluated_splits,
    training_splits,
)
from s2vc.eval.sweep.run import cpus_of_nodes, share_resources
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.choices import STRATEGIES
from s2vc.pipeline.cluster.connection import cluster, flow_device, gpus
from s2vc.pipeline.console.endings import stopping
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.progress import count
from s2vc.pipeline.console.terminal import make_console, print_json, print_result
from s2vc.pipeline.console.variant_options import wanted_variants, window_rule
from s2vc.pipeline.storage.held import held
from s2vc.pipeline.variants import Variant
from s2vc.training.cli.run import settings_layers


def sweep(
    cache: str,
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    strategies: tuple[str, ...],
    scope: str,
    seeds: int,
    split: str | None,
    tasks: tuple[str, ...],
    out: Path | None,
    runs: Path | None,
    cpus_per_trial: int | None,
    workers: int | None,
    device: str | None,
    evict_used: bool,
    dry_run: bool,
    preset: str | None,
    config: Path | None,
    ray_address: str | None,
    **given: Any,
) -> None:
    """Plan a sweep by the options of its command line, print what it will cost, and run it."""
    console = make_console(notes_are_the_result=dry_run)
    for name, wanted, known in (("strategy", strategies, STRATEGIES), ("task", tasks, tuple(TASKS))):
        if wrong := [w for w in wanted if w not in known]:
            raise UserError(f"there is no {name} {wrong[0]!r}; there are {', '.join(known)}")
    opened = Cache(cache, given["local_cache"] or "", given["local_cache_size"] or "")
    evaluation = {k: given.pop(k) for k in EVALUATION_OPTIONS}
    layers = settings_layers(preset, config, {**given, "split": split})
    shared = shared_settings(layers, opened)
    split = {name: value for layer in layers for name, value in layer.items()}.get("split")
    protocol, note = make_protocol(opened, tasks, split, shared, **evaluation)
    variants = planned_variants(shared, alphas, keeps, strategies, scope)
    folder = SweepFolder(out or Path("sweeps") / Path(opened.storage.location).name, runs)
    trials = plan_trials(variants, seeds, training_splits(opened, split, not protocol.cache))
    remaining = unfinished_trials(folder, trials, protocol)
    folder.check(opened, shared, protocol)
    if note:
        console.print(note)
    hold = nullcontext() if dry_run else held(folder.root)
    if not remaining:
        console.print(f"{count(len(trials), 'run')}, all done before")
        with hold:
            print_end(folder, trials, variants, protocol, {}, console)
        return
    with hold, cluster(ray_address, None, device), stopping(console) as stop:
        on = flow_device(device)
        found = gpus() if on == "cuda" else 0
        resources = share_resources(cpus_of_nodes(), found, len(remaining), cpus_per_trial, workers)
        resources = dataclasses.replace(resources, device=on if device else None)
        planned = Sweep(folder, opened, variants, trials, shared, protocol, resources, ray_address, console, stop)
        cost = planned.print_cost(remaining, evict_used)
        if dry_run:
            print_json(cost)
            return
        folder.open(opened, shared, protocol)
        failed = planned.run(remaining, evict_used)
        print_end(folder, trials, variants, protocol, failed, console)
        stopped = stop() and unfinished_trials(folder, trials, protocol)
    if stopped:
        print_result(console, "Stopped. What is finished is kept: run the same command again to go on.")
        raise Exit(EXIT_INTERRUPTED)


EVALUATION_OPTIONS = ("select", "eval_cache", "eval_split", *PROTOCOL_FIELDS)


def make_protocol(
    cache: Cache,
    tasks: tuple[str, ...],
    split: str | None,
    shared: dict[str, Any],
    select: str | None,
    eval_cache: str | None,
    eval_split: str | None,
    **how: Any,
) -> tuple[Protocol, str]:
    """Make the protocol that options mean, with a sentence where only test videos can rank the arms, or where nothing
    tells which validation videos are of one recording.

    split: as asked, ALL_SPLITS among others. Raises UserError where the videos to evaluate on are not there.
    """
    if eval_split and not eval_cache:
        raise UserError("--eval-split belongs to --eval-cache; of CACHE itself, --split says it")
    if not eval_cache:
        check_evaluated_videos(cache, training_splits(cache, split, True) or (shared["split"],), tasks)
        chosen, note = choose_selection(select, tasks, cache, shared["split"], how["group"])
        return Protocol(tasks, chosen, **how), note
    other = Cache(eval_cache, shared["local_cache"] or "", shared["local_cache_size"] or "")
    splits = evaluated_splits(other, eval_split)
    if split == ALL_SPLITS and len(splits) > 1:
        raise UserError(f"--split {ALL_SPLITS} trains on each split, --eval-split {ALL_SPLITS} tests on each: take one")
    check_evaluated_videos(other, splits, tasks)
    chosen, note = choose_selection(select, tasks, other, splits[0], how["group"])
    return Protocol(tasks, chosen, other.storage.location, splits, **how), note


def planned_variants(
    shared: dict[str, Any], alphas: tuple[float, ...], keeps: tuple[float, ...], strategies: tuple[str, ...], scope: str
) -> list[Variant]:
    """List the variants that options mean; of scope clip, windows are the clips that are trained on."""
    if not alphas and not keeps and set(strategies) != {"tfd"}:
        raise UserError("say how much to suppress: --alphas 0.3,0.5,0.7, or --keeps 0.1,0.2")
    clip = (shared["clip_length"], shared["frame_step"], None) if scope == "clip" else (None, None, None)
    return wanted_variants(alphas, keeps, strategies, 1, 0, window_rule(scope, *clip))

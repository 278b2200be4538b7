"""`s2vc-sweep`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from s2vc.eval.cli.sweep_recipe import run_recipe, sweep_recipe_options
from s2vc.eval.cli.sweep_session import Sweep, print_end
from s2vc.eval.defaults import FINETUNE_EPOCHS, LINEAR_EPOCHS, TRAIN_VIEWS
from s2vc.eval.sweep.plan import PER_TRIAL_SETTINGS, SweepFolder, plan_trials, shared_settings, unfinished_trials
from s2vc.eval.sweep.protocol import (
    ALL_SPLITS,
    HOW,
    SWEEP_SELECTIONS,
    TASKS,
    Protocol,
    choose_selection,
    evaluated_splits,
    training_splits,
)
from s2vc.eval.sweep.run import cpus_of_nodes, share_resources
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cluster.connection import cluster, gpus
from s2vc.pipeline.console.commands import OneCommand
from s2vc.pipeline.console.endings import stopping
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.options import EXISTING_FILE, FOLDER, address_option
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.variant_options import wanted_variants, window_rule
from s2vc.pipeline.static_cues import STRATEGIES
from s2vc.pipeline.storage.held import held
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import MAX_CLIP
from s2vc.training.cli.run import settings_layers, settings_options
from s2vc.training.clip_shapes import MAX_SIZE, MIN_SIZE
from s2vc.training.dpc_settings import DPC_SETTINGS
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
@click.argument("cache", required=False)
@click.option("--alphas", callback=comma_separated(float), metavar="A,B,…", help="Such as 0.1,0.3,0.5,0.7,0.9.")
@click.option(
    "--keeps", callback=comma_separated(float), metavar="Q,R,…", help="Shares of latents to keep, such as 0.1,0.2."
)
@click.option("--strategies", callback=comma_separated(str), default="zero", help=f"Of {', '.join(STRATEGIES)}.")
@click.option("--scope", type=click.Choice(["video", "clip"]), default="video", help="As `s2vc-prep render` has it.")
@click.option("--seeds", type=click.IntRange(1), default=3, help="Runs of each, with seeds 0 to N-1.  [default: 3]")
@click.option("--split", help=f"Split column; {ALL_SPLITS}: each in turn, and their mean.  [default: the first]")
@click.option("--eval", "tasks", callback=comma_separated(str), default="retrieval", help=f"Of {', '.join(TASKS)}.")
@click.option(
    "--select",
    type=click.Choice(SWEEP_SELECTIONS),
    help="Videos by which arms are ranked. validation: cut from the training rows by whole recordings; test videos are "
    "then reported, and choose nothing.  [default: validation where it can be cut]",
)
@click.option("--eval-cache", metavar="CACHE", help="Evaluate on another cache.  [default: the one trained on]")
@click.option("--eval-split", help=f"Its split column, or {ALL_SPLITS}.  [default: the first]")
@click.option("--retrieval-frames", type=click.IntRange(2, MAX_CLIP), help="Of a window.  [default: those of clips]")
@click.option("--per", type=click.Choice(["video", "clip"]), default="video", help="What a query of retrieval is.")
@click.option("--classify-size", type=click.IntRange(MIN_SIZE, MAX_SIZE), help="Pixels, of linear and finetune.")
@click.option("--classify-frames", type=click.IntRange(2, MAX_CLIP), help="And its frames.  [default: those of clips]")
@click.option("--train-views", type=click.IntRange(0), default=TRAIN_VIEWS, help="Of linear; 0: new at every step.")
@click.option("--linear-epochs", type=click.IntRange(1), default=LINEAR_EPOCHS, help="Of linear and order.")
@click.option("--finetune-epochs", type=click.IntRange(1), default=FINETUNE_EPOCHS)
@click.option("--out", type=FOLDER, default=None, help="Folder of the sweep.  [default: sweeps/CACHE]")
@click.option("--runs", type=FOLDER, help="Folder of its runs, which several sweeps may share.  [default: OUT/runs]")
@click.option("--cpus-per-trial", type=click.IntRange(1), help="[default: CPUs over the trials that fit at a time]")
@click.option("--evict", "evict_used", is_flag=True, help="Render one variant at a time, and drop it once it is used.")
@click.option("--dry-run", is_flag=True, help="Print bytes and hours, and stop there.")
@sweep_recipe_options
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The paper's regime, epochs and queue for a dataset.")
@click.option("--config", type=EXISTING_FILE, help="YAML file of settings of the runs; flags go over it.")
@address_option
@settings_options(without=(*PER_TRIAL_SETTINGS, *SUPERVISED_SETTINGS, *DPC_SETTINGS, "flow", "split"))
@click.pass_context
def main(ctx: click.Context, /, cache: str | None, recipe: str | None, videos: Path | None, **given: Any) -> None:
    """Which alpha is worth most on CACHE? Trains on every variant, and MoCo without S²VC, with several seeds each,
    evaluates all, and writes one table (CSV, Markdown) and the paper's Fig. 3 curve.

    Bytes and hours are printed first. What is missing is rendered. Stopped and run again, it goes on where it was. The
    options below --ray-address are those of `s2vc-train`, for all runs. With --recipe in place of CACHE, a file says
    all of it, from the videos on.
    """
    lists = given.pop("lists")
    if recipe is not None:
        run_recipe(ctx, recipe, cache, videos, lists, given["out"], given["dry_run"])
        return
    if cache is None:
        raise UserError("say which CACHE, or which --recipe")
    if videos or lists:
        raise UserError("--videos and --lists belong to --recipe")
    sweep(cache, **given)


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
    evict_used: bool,
    dry_run: bool,
    preset: str | None,
    config: Path | None,
    ray_address: str | None,
    **given: Any,
) -> None:
    """Plan a sweep by the options of its command line, print what it will cost, and run it."""
    console = make_console()
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
        console.print(f"{len(trials)} runs, all done before")
        with hold:
            print_end(folder, trials, variants, protocol, {}, console)
        return
    with hold, cluster(ray_address, None), stopping(console) as stop:
        resources = share_resources(cpus_of_nodes(), gpus(), len(remaining), cpus_per_trial)
        planned = Sweep(folder, opened, variants, trials, shared, protocol, resources, ray_address, console, stop)
        planned.print_cost(remaining, evict_used)
        if dry_run:
            return
        folder.open(opened, shared, protocol)
        failed = planned.run(remaining, evict_used)
        print_end(folder, trials, variants, protocol, failed, console)
        stopped = stop() and unfinished_trials(folder, trials, protocol)
    if stopped:
        console.print("Stopped. What is finished is kept: run the same command again to go on.")
        raise Exit(EXIT_INTERRUPTED)


EVALUATION_OPTIONS = ("select", "eval_cache", "eval_split", *HOW)


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
    """Make the protocol that options mean, with a sentence where only test videos can rank the arms.

    split: as asked, ALL_SPLITS among others. Raises UserError where the videos to evaluate on are not there.
    """
    if eval_split and not eval_cache:
        raise UserError("--eval-split belongs to --eval-cache; of CACHE itself, --split says it")
    if not eval_cache:
        chosen, note = choose_selection(select, tasks, cache, shared["split"])
        return Protocol(tasks, chosen, **how), note
    other = Cache(eval_cache, shared["local_cache"] or "", shared["local_cache_size"] or "")
    splits = evaluated_splits(other, eval_split)
    if split == ALL_SPLITS and len(splits) > 1:
        raise UserError(f"--split {ALL_SPLITS} trains on each split, --eval-split {ALL_SPLITS} tests on each: take one")
    chosen, note = choose_selection(select, tasks, other, splits[0])
    return Protocol(tasks, chosen, other.storage.location, splits, **how), note


def planned_variants(
    shared: dict[str, Any], alphas: tuple[float, ...], keeps: tuple[float, ...], strategies: tuple[str, ...], scope: str
) -> list[Variant]:
    """List the variants that options mean; of scope clip, windows are the clips that are trained on."""
    if not alphas and not keeps and set(strategies) != {"tfd"}:
        raise UserError("say how much to suppress: --alphas 0.3,0.5,0.7, or --keeps 0.1,0.2")
    clip = (shared["clip_length"], shared["frame_step"], None) if scope == "clip" else (None, None, None)
    return wanted_variants(alphas, keeps, strategies, 1, 0, window_rule(scope, *clip))


if __name__ == "__main__":
    main(prog_name="s2vc-sweep")

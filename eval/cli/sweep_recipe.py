"""`s2vc-sweep --recipe`: the commands of a recipe, printed with what they will cost, or run one after another."""

import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from s2vc.eval.defaults import TEST
from s2vc.eval.sweep.recipe import ENCODE, PATHS, Command, PlannedSweep, Recipe, read_recipe, recipe_commands
from s2vc.eval.sweep.recipe_options import check_options
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.settings import OWN_CACHE
from s2vc.pipeline.console.exit_codes import EXIT_FAILED_VIDEOS, EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.options import FOLDER, OUTPUT
from s2vc.pipeline.console.progress import clock, size
from s2vc.pipeline.console.terminal import make_console, print_result
from s2vc.pipeline.console.verbosity import verbosity_flags, wants_json
from s2vc.training.choices import TRAIN

OVER = ("seeds", "split", "eval_split", "select", "cpus_per_trial", "workers", "device", "ray_address")
"""These options of the command line go over what a recipe says of its sweeps."""

ITS_OWN = ("cache", "recipe", "videos", "lists", "out", "dry_run")


def sweep_recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate `s2vc-sweep` with the options of recipes."""
    options = (
        click.option(
            "--recipe",
            metavar="NAME|FILE",
            help="The paper's tables from the videos on: ucf101, hmdb51, k200, k400, sample, or a YAML file. "
            "With --dry-run: its commands, bytes and hours.",
        ),
        click.option("--videos", type=FOLDER, help="recipe: folder of the videos."),
        click.option(
            "--lists", type=OUTPUT, multiple=True, help="recipe: the dataset's lists, as `s2vc-prep manifest` has them."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def run_recipe(
    ctx: click.Context,
    name: str,
    cache: str | None,
    videos: Path | None,
    lists: Sequence[Path],
    out: Path | None,
    dry_run: bool,
) -> None:
    """Print the commands of a recipe with bytes and hours, and run them where it is no dry run.

    Each goes on where it was stopped. Raises UserError for a recipe with options that its commands do not have.
    """
    recipe = read_recipe(name)
    if wants_json():
        raise UserError("--json is the table of one sweep, and a --recipe has several: they are in its --out")
    if cache is not None:
        raise UserError("a --recipe makes its own cache, in --out: leave CACHE out")
    over = _options_over(ctx)
    _check_options(recipe, ctx.command)
    commands = recipe_commands(recipe, out or Path("sweeps"), videos, lists, over, ctx.command)
    made = commands[0].made
    if not dry_run and (videos is None or (recipe.lists and not lists and not (made and made.exists()))):
        raise UserError(f"say where the videos are: --videos{' and --lists' if recipe.lists else ''}")
    console = make_console(notes_are_the_result=dry_run)
    console.print(f"{recipe.name}: {recipe.about}")
    for command in commands:
        console.print(f"    {shlex.join(command.words)}")
    _print_cost(recipe, commands, over, console)
    for command in commands:
        if not dry_run:
            _run(command, console)
        if command.made is not None and command.made.exists():
            _check_parts(recipe, command.made)


def _options_over(ctx: click.Context) -> dict[str, Any]:
    """Take what the command line says over the recipe. Raises UserError for an option that belongs into the recipe."""
    given = {k: v for k, v in ctx.params.items() if ctx.get_parameter_source(k) == ParameterSource.COMMANDLINE}
    names = {p.name: p.opts[-1] for p in ctx.command.params}
    for name in given:
        if name not in (*OVER, *ITS_OWN):
            raise UserError(f"with --recipe, {names[name]} is for the recipe to say: write it there")
    return {name.replace("_", "-"): value for name, value in given.items() if name in OVER}


def _check_options(recipe: Recipe, sweep: click.Command) -> None:
    """Raise UserError where a recipe has an option, or a value of one, that the command it is for does not take."""
    check_options(recipe.encode, ENCODE, f"recipe {recipe.name}, encode")
    for planned in recipe.sweeps:
        # A path starts from the recipe's folder, not from here.
        options = {name: value for name, value in planned.options.items() if name not in PATHS or value is True}
        check_options(options, sweep, f"recipe {recipe.name}, sweep {planned.name}")


def _check_parts(recipe: Recipe, manifest: Path) -> None:
    """Raise UserError where a sweep tests on videos that a manifest does not have, before hours of encoding."""
    if all(sweep.options.get("eval-cache", OWN_CACHE) != OWN_CACHE for sweep in recipe.sweeps):
        return
    from s2vc.manifests.table import read_manifest, split_columns

    table = read_manifest(manifest)
    columns = split_columns(table)
    parts = Counter(table[columns[0]] if columns else ())
    if TRAIN not in parts or not parts.keys() - {TRAIN, ""}:
        found = ", ".join(f"{number} {part or 'of neither'}" for part, number in parts.items()) or "no split column"
        raise UserError(
            f"recipe {recipe.name} trains on some videos and tests on others, and {manifest} has {found}: the videos "
            f"of folders VIDEOS/{TRAIN} and VIDEOS/{TEST} are told apart. Then remove the file, and run this again"
        )


def _print_cost(recipe: Recipe, commands: Sequence[Command], over: dict[str, Any], console: Console) -> None:
    """Print bytes and hours of the cache and of each sweep, on this machine."""
    from s2vc.eval.sweep.recipe_cost import cost_of_recipe

    encoded, sweeps = cost_of_recipe(recipe, Path(commands[0].words[-1]).parent, over)
    console.print(f"cache: about {size(encoded.bytes)}, {clock(encoded.seconds)} in the flow")
    shown: list[tuple[PlannedSweep, Any]] = list(zip(recipe.sweeps, sweeps, strict=True))
    for sweep, cost in shown:
        about = f" ({sweep.about})" if sweep.about else ""
        made = (
            "runs that another sweep has trained"
            if "runs" in sweep.options
            else f"runs; about {size(cost.bytes)}; {clock(cost.render_seconds)} to render, "
            f"{clock(cost.train_seconds)} to train"
        )
        console.print(
            f"{sweep.name}{about}: {cost.runs} {made}, {clock(cost.test_seconds)} to evaluate",
        )
    total, seconds = encoded.bytes + sum(c.bytes for c in sweeps), encoded.seconds + sum(c.seconds for c in sweeps)
    console.print(
        f"in all: about {size(total)} and {clock(seconds)} on this machine, by what it did just now; "
        "what is done already is not taken off",
    )


def _run(command: Command, console: Console) -> None:
    """Run a command to its end, unless what it makes is there. Ends the program where it fails or is stopped."""
    if command.made is not None and command.made.exists():
        console.print(f"{command.made} is there")
        return
    console.print(f"$ {shlex.join(command.words)}")
    if command.made is not None:
        command.made.parent.mkdir(parents=True, exist_ok=True)
    # In a session of its own it gets a signal once, from here, and ends as it does by itself.
    with subprocess.Popen([*command.arguments, *verbosity_flags()], start_new_session=True) as process:
        before = {
            number: signal.signal(number, lambda got, frame: process.send_signal(got))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if code == EXIT_INTERRUPTED:
        print_result(console, "Stopped. What is finished is kept: run the same recipe again to go on.")
    if code not in (0, EXIT_FAILED_VIDEOS):
        raise Exit(code if code > 0 else 1)

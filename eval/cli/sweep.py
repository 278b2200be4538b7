"""`s2vc-sweep`."""

from pathlib import Path
from typing import Any

import click

from s2vc.eval.cli.sweep_recipe import sweep_recipe_options
from s2vc.eval.defaults import (
    ALL_SPLITS,
    FINETUNE_EPOCHS,
    LINEAR_EPOCHS,
    PER_TRIAL_SETTINGS,
    SWEEP_SELECTIONS,
    SWEEP_TASKS,
    TRAIN_VIEWS,
)
from s2vc.manifests.errors import UserError
from s2vc.pipeline.choices import STRATEGIES
from s2vc.pipeline.console.commands import OneCommand
from s2vc.pipeline.console.completion import complete_folder
from s2vc.pipeline.console.options import EXISTING_FILE, FOLDER, address_option, shared_device_option, workers_option
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.windows import MAX_CLIP
from s2vc.training.cli.run import settings_options
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
@click.argument("cache", required=False, shell_complete=complete_folder)
@click.option("--alphas", callback=comma_separated(float), metavar="A,B,…", help="Such as 0.1,0.3,0.5,0.7,0.9.")
@click.option(
    "--keeps", callback=comma_separated(float), metavar="Q,R,…", help="Shares of latents to keep, such as 0.1,0.2."
)
@click.option("--strategies", callback=comma_separated(str), default="zero", help=f"Of {', '.join(STRATEGIES)}.")
@click.option("--scope", type=click.Choice(["video", "clip"]), default="video", help="As `s2vc-prep render` has it.")
@click.option("--seeds", type=click.IntRange(1), default=3, help="Runs of each, with seeds 0 to N-1.  [default: 3]")
@click.option("--split", help=f"Split column; {ALL_SPLITS}: each in turn, and their mean.  [default: the first]")
@click.option(
    "--eval", "tasks", callback=comma_separated(str), default="retrieval", help=f"Of {', '.join(SWEEP_TASKS)}."
)
@click.option(
    "--select",
    type=click.Choice(SWEEP_SELECTIONS),
    help="Videos by which arms are ranked. validation: cut from the training rows by whole recordings; test videos are "
    "then reported, and choose nothing.  [default: validation where it can be cut]",
)
@click.option("--group", metavar="COLUMN", help="Names a video's recording.  [default: the video's name does]")
@click.option(
    "--eval-cache",
    metavar="CACHE",
    shell_complete=complete_folder,
    help="Evaluate on another cache.  [default: the one trained on]",
)
@click.option("--eval-split", help=f"Its split column, or {ALL_SPLITS}.  [default: the first]")
@click.option("--retrieval-frames", type=click.IntRange(2, MAX_CLIP), help="Of a window.  [default: those of clips]")
@click.option("--retrieval-clips", type=click.IntRange(2), help="So many of a video.  [default: by half a window]")
@click.option("--per", type=click.Choice(["video", "clip"]), default="video", help="What a query of retrieval is.")
@click.option("--classify-size", type=click.IntRange(MIN_SIZE, MAX_SIZE), help="Pixels, of linear and finetune.")
@click.option("--classify-frames", type=click.IntRange(2, MAX_CLIP), help="And its frames.  [default: those of clips]")
@click.option("--train-views", type=click.IntRange(0), default=TRAIN_VIEWS, help="Of linear; 0: new at every step.")
@click.option("--linear-epochs", type=click.IntRange(1), default=LINEAR_EPOCHS, help="Of linear and order.")
@click.option("--finetune-epochs", type=click.IntRange(1), default=FINETUNE_EPOCHS)
@click.option("--out", type=FOLDER, default=None, help="Folder of the sweep.  [default: sweeps/CACHE]")
@click.option("--runs", type=FOLDER, help="Folder of its runs, which several sweeps may share.  [default: OUT/runs]")
@shared_device_option
@workers_option
@click.option(
    "--threads",
    "--cpus-per-trial",
    "cpus_per_trial",
    type=click.IntRange(1),
    help="Cores that each process computes on.  [default: CPUs over the trials that fit at a time]",
)
@click.option("--evict", "evict_used", is_flag=True, help="Render one variant at a time, and drop it once it is used.")
@click.option("--dry-run", is_flag=True, help="Print bytes and hours, and stop there.")
@json_option
@sweep_recipe_options
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The paper's regime, epochs and queue for a dataset.")
@click.option("--config", type=EXISTING_FILE, help="YAML file of settings of the runs; flags go over it.")
@address_option
@settings_options(without=(*PER_TRIAL_SETTINGS, *SUPERVISED_SETTINGS, *DPC_SETTINGS, "flow", "split"))
@click.version_option(package_name="s2vc")
@click.pass_context
def main(ctx: click.Context, /, cache: str | None, recipe: str | None, videos: Path | None, **given: Any) -> None:
    """Which alpha is worth most on CACHE? Trains on every variant, and MoCo without S²VC, with several seeds each,
    evaluates all, and writes one table (CSV, Markdown) and the paper's Fig. 3 curve.

    Bytes and hours are printed first. What is missing is rendered. Stopped and run again, it goes on where it was. The
    options below --ray-address are those of `s2vc-train`, for all runs. With --recipe in place of CACHE, a file says
    all of it, from the videos on.
    """
    from s2vc.eval.cli.plan_sweep import sweep
    from s2vc.eval.cli.sweep_recipe import run_recipe

    lists = given.pop("lists")
    if recipe is not None:
        run_recipe(ctx, recipe, cache, videos, lists, given["out"], given["dry_run"])
        return
    if cache is None:
        raise UserError("say which CACHE, or which --recipe")
    if videos or lists:
        raise UserError("--videos and --lists belong to --recipe")
    sweep(cache, **given)


if __name__ == "__main__":
    main(prog_name="s2vc-sweep")

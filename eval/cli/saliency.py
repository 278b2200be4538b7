"""`s2vc-eval saliency`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from s2vc.eval.cli.checkpoint_options import checkpoint_command, label_option
from s2vc.eval.defaults import CAM_CLASSIFIERS, LINEAR_EPOCHS, TRAIN_VIEWS

if TYPE_CHECKING:
    from s2vc.eval.evaluation import Evaluation


MASKS = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("saliency")
@checkpoint_command
@label_option
@click.option("--videos", type=click.IntRange(1), default=6, help="Drawn at random; all, where there are fewer.")
@click.option(
    "--cam",
    type=click.Choice(CAM_CLASSIFIERS),
    help="Class activation maps as well, by the classifier of `linear`, or that of CHECKPOINT, a run of `finetune`.",
)
@click.option("--epochs", type=click.IntRange(1), default=LINEAR_EPOCHS, help="Of the classifier of --cam linear.")
@click.option("--train-views", type=click.IntRange(1), default=TRAIN_VIEWS, help="As for `linear`, 1 or more.")
@click.option("--masks", type=MASKS, help="Folder of the movers' masks, such as SET/masks of `s2vc-prep sample`.")
@click.option("--gif", is_flag=True, help="An animation as well.")
def saliency_command(
    evaluation: "Evaluation",
    videos: int,
    cam: str | None,
    epochs: int,
    train_views: int,
    masks: Path | None,
    gif: bool,
) -> None:
    """Where CHECKPOINT looks: energy of its last convolution on test videos of CACHE, beside optical flow (Fig. 7).

    With numbers: Pearson's correlation of energy and speed over the map, beside that with the flow of other videos.
    --cam: the map of the video's class (Zhou et al. 2016) as well. --masks: the share of each map that lies on the
    mover, beside that on the movers of other videos. Without a split column, or with --split all, of any videos.
    """
    from s2vc.eval.cli.saliency_session import run_saliency

    run_saliency(evaluation, videos, cam, epochs, train_views, masks, gif)

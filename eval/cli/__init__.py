"""`s2vc-eval`: what a pre-trained backbone is worth."""

import click

from s2vc.pipeline.console.commands import OneCommand, command_line

COMMANDS = {
    "retrieval": "Recall@k of test videos among the training videos (paper, Tables 2 and 3).",
    "linear": "A linear classifier on frozen features (paper, Table 1).",
    "finetune": "All layers trained on labels (paper, Table 1).",
    "order": "Natural clips told from shuffled ones (paper, Fig. 1; supplement, Table 2).",
    "static-bias": "What is won over a classifier of still clips, by class (paper, Fig. 6).",
    "similarity": "Cosine similarity of frames before and after suppression (paper, Fig. 4).",
    "normality": "Whether pixels and latents of a video are normal (supplement, Fig. 5).",
    "saliency": "Where a backbone looks, beside optical flow (paper, Fig. 7).",
    "motion": "Share of moving pixels (supplement, Fig. 1).",
    "people": "Share of the frame that shows people (supplement, Fig. 1).",
    "report": "One HTML page of runs, results and sweeps.",
}


@command_line("s2vc-eval", COMMANDS, "s2vc.eval.cli")
def main() -> None:
    """Downstream tasks of the paper, on the stored frames of a cache.

    CHECKPOINT is a run's folder, a checkpoint of ours or a published one, or `random`.
    """


@click.command("s2vc-sweep", cls=OneCommand, add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sweep_main(arguments: tuple[str, ...]) -> None:
    """`s2vc-sweep`, imported where it is used, so that a library that is missing ends in one line here, too."""
    from s2vc.eval.cli.sweep import main

    main(arguments, prog_name="s2vc-sweep")

"""`s2vc-eval`: what a pre-trained backbone is worth."""

import click

from s2vc.manifests.errors import UserError
from s2vc.pipeline.console.commands import command_line
from s2vc.pipeline.console.exit_codes import EXIT_USER_ERROR
from s2vc.pipeline.console.extras import extras_named

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


def sweep_main() -> None:
    """Run `s2vc-sweep`, imported here, so that a library that is missing ends in one line, too."""
    try:
        with extras_named():
            from s2vc.eval.cli.sweep import main
    except UserError as error:
        click.echo(f"s2vc-sweep: {error}", err=True)
        raise SystemExit(EXIT_USER_ERROR) from None
    main(prog_name="s2vc-sweep")

"""`s2vc-eval`: what a pre-trained backbone is worth."""

import click

from pipeline.cli.group import Commands

COMMANDS = {
    "retrieval": "Recall@k of test videos among the training videos (paper, Tables 2 and 3).",
}


@click.group(
    "s2vc-eval",
    cls=Commands,
    table=COMMANDS,
    package="eval.cli",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="s2vc")
def main() -> None:
    """Downstream tasks of the paper, on the stored frames of a cache.

    CHECKPOINT is a run's folder, a checkpoint of ours or a published one, or `random`.
    """

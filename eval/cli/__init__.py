"""`s2vc-eval`: what a pre-trained backbone is worth."""

from pipeline.cli.group import command_line

COMMANDS = {
    "retrieval": "Recall@k of test videos among the training videos (paper, Tables 2 and 3).",
}


@command_line("s2vc-eval", COMMANDS, "eval.cli")
def main() -> None:
    """Downstream tasks of the paper, on the stored frames of a cache.

    CHECKPOINT is a run's folder, a checkpoint of ours or a published one, or `random`.
    """

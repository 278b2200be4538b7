"""`s2vc-train`: contrastive pre-training on cached pairs."""

from s2vc.pipeline.console.commands import command_line

COMMANDS = {
    "run": "Pre-train on a cache (the default: s2vc-train CACHE …).",
    "export": "Write the backbone of a run as a checkpoint for other programs.",
}


@command_line("s2vc-train", COMMANDS, "s2vc.training.cli", default="run")
def main() -> None:
    """Contrastive pre-training on a cache of s2vc-prep, at the speed of plain MoCo:

    \b
      s2vc-train CACHE --alpha 0.5

    `s2vc-train run --help` lists the settings. A run that was stopped is gone on with by the same command.
    """

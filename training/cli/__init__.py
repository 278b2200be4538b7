"""`s2vc-train`: contrastive pre-training on cached pairs."""

import click

from pipeline.cli.group import Commands

COMMANDS = {
    "run": "Pre-train on a cache (the default: s2vc-train CACHE …).",
    "export": "Write the backbone of a run as a checkpoint for other programs.",
}


@click.group(
    "s2vc-train",
    cls=Commands,
    table=COMMANDS,
    package="training.cli",
    default="run",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="s2vc")
def main() -> None:
    """Contrastive pre-training on a cache of s2vc-prep, at the speed of plain MoCo: s2vc-train CACHE --alpha 0.5

    `s2vc-train run --help` lists the settings. A run that was stopped is gone on with by the same command.
    """

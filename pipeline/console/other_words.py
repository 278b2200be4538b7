"""Take the words of other tools for options: accept those that mean the same, and answer others with ours."""

from collections.abc import Iterator, Sequence

import click

SAME = {
    "--batch-size": ("--batch",),
    "--learning-rate": ("--lr",),
    "--wd": ("--weight-decay",),
    "--num-workers": ("--loader-workers", "--workers"),
    "--num-epochs": ("--epochs",),
    "--max-epochs": ("--epochs",),
    "--image-size": ("--size",),
    "--img-size": ("--size",),
    "--crop-size": ("--size",),
    "--num-frames": ("--clip-length", "--frames"),
    "--seq-len": ("--clip-length", "--frames"),
    "--arch": ("--backbone",),
    "--model": ("--backbone",),
    "--pretrained": ("--init",),
    "--pretrain": ("--init",),
    "--output": ("--out",),
    "--output-dir": ("--out",),
    "--save-dir": ("--out",),
    "--moco-dim": ("--dim",),
    "--moco-k": ("--queue",),
    "--queue-size": ("--queue",),
    "--moco-m": ("--momentum",),
    "--moco-t": ("--temperature",),
    "--tau": ("--temperature",),
}
"""For each word, the options that mean the same, of which the first is taken that the command has."""

ANSWERS = {
    "--gpus": "s2vc-prep uses all GPUs; training on N GPUs is --workers N, and --device names one",
    "--gpu": "--device cuda:0 names a GPU; training on N GPUs is --workers N",
    "--num-gpus": "s2vc-prep uses all GPUs; training on N GPUs is --workers N",
    "--ngpus": "s2vc-prep uses all GPUs; training on N GPUs is --workers N",
    "--resume": "run the same command again: it goes on where it was stopped",
    "--fps": "frames are counted, not timed: --frame-step N takes every n-th",
    "--amp": "--precision bfloat16",
    "--fp16": "--precision bfloat16",
    "--overwrite": "nothing is written over: give another --out",
    "--dataset": "the dataset is the CACHE of s2vc-prep, without an option",
    "--data": "the dataset is the CACHE of s2vc-prep, without an option",
}
"""What is said where a command has no option of this name."""


def in_our_words(command: click.Command, arguments: Sequence[str], ctx: click.Context) -> list[str]:
    """Replace words of SAME by the options that a command has for them; raise UsageError with the answer for those of
    ANSWERS. What follows `--` is left alone."""
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return list(_translated(options, arguments, ctx))


def _translated(options: set[str], arguments: Sequence[str], ctx: click.Context) -> Iterator[str]:
    ended = False
    for argument in arguments:
        ended = ended or argument == "--"
        word, equals, value = argument.partition("=")
        if ended or word in options or word not in SAME.keys() | ANSWERS.keys():
            yield argument
        elif ours := next((option for option in SAME.get(word, ()) if option in options), None):
            yield ours + equals + value
        elif word in ANSWERS:
            raise click.UsageError(f"No such option {word!r}: {ANSWERS[word]}.", ctx)
        else:
            yield argument

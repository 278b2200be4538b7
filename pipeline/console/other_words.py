"""Take the words of other tools for options: accept those that mean the same, and answer others with ours."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

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

_GPUS = (
    ("s2vc-train", "--workers", "training on N GPUs is --workers N, and --device cuda:1 names one"),
    ("s2vc-sweep", "--device", "each run has one GPU to itself, and runs are shared out among all GPUs"),
    ("s2vc-eval", "--device", "it computes on one GPU, which --device names: cuda:0, cuda:1, …"),
    ("s2vc-prep", "--threads --workers", "training on N GPUs is --workers N, and --device cuda:1 names one"),
    ("s2vc-prep", "--threads --device", "it computes on one GPU, which --device names: cuda:0, cuda:1, …"),
    ("s2vc-prep", "--device", "all GPUs that there are are used; --device cuda:1 uses one, --device cpu none"),
    ("", "", "it computes on no GPU"),
)
_LOADERS = (
    ("", "--threads", "no processes read for this command; --threads N is the cores that it computes on"),
    ("", "", "this command reads in its own process"),
)
_RATE = (
    ("", "--recipe", "the rate is the recipe's: --recipe"),
    ("", "--epochs", "the rate is the paper's; --epochs can be set"),
    ("", "", "nothing is trained here"),
)
_BATCH = (("", "--device", "as many frames are computed at a time as the memory takes"),)

ANSWERS: dict[str, tuple[tuple[str, str, str], ...]] = {
    **dict.fromkeys(("--gpus", "--gpu", "--num-gpus", "--ngpus"), _GPUS),
    **dict.fromkeys(("--num-workers", "--loader-workers"), _LOADERS),
    **dict.fromkeys(("--lr", "--learning-rate"), _RATE),
    **dict.fromkeys(("--batch-size", "--batch"), _BATCH),
    "--resume": (("", "", "run the same command again: it goes on where it was stopped"),),
    "--fps": (("", "", "frames are counted, not timed: --frame-step N takes every n-th"),),
    "--amp": (("", "--precision", "--precision bfloat16"),),
    "--fp16": (("", "--precision", "--precision bfloat16"),),
    "--overwrite": (("", "", "caches, clips and runs are not written over: give another --out"),),
    "--dataset": (("", "cache", "the dataset is the CACHE of s2vc-prep, without an option"),),
    "--data": (("", "cache", "the dataset is the CACHE of s2vc-prep, without an option"),),
}
"""What is said where a command has no option of this name, nor one of SAME: the first sentence whose program it is, and
whose options, or argument, the command has."""

NEAR = 0.75
"""A name of an option is suggested for another one that is as similar as this or more, without their dashes."""


def in_our_words(command: click.Command, arguments: Sequence[str], ctx: click.Context) -> list[str]:
    """Replace words of SAME by the options that a command has for them; raise UsageError with the answer for those of
    ANSWERS. What follows `--` is left alone. ctx: the command's."""
    return list(_translated(_names(command), arguments, ctx))


def with_near_options(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return an error that suggests only options that are near to the one that was given."""
    if error.ctx is None:
        return error
    known = {name.lstrip("-"): name for name in sorted(_names(error.ctx.command)) if name.startswith("--")}
    near = [known[name] for name in get_close_matches(error.option_name.lstrip("-"), known, cutoff=NEAR)]
    return click.NoSuchOption(error.option_name, possibilities=near, ctx=error.ctx)


def _names(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def _translated(options: set[str], arguments: Sequence[str], ctx: click.Context) -> Iterator[str]:
    ended = False
    for argument in arguments:
        ended = ended or argument == "--"
        word, equals, value = argument.partition("=")
        if ended or word in options:
            yield argument
        elif ours := next((option for option in SAME.get(word, ()) if option in options), None):
            yield ours + equals + value
        elif answer := _answer(word, options, ctx.find_root().command.name):
            raise click.UsageError(f"No such option {word!r}: {answer}.", ctx)
        else:
            yield argument


def _answer(word: str, options: set[str], program: str | None) -> str | None:
    for of, wanted, sentence in ANSWERS.get(word, ()):
        if of in ("", program) and options.issuperset(wanted.split()):
            return sentence
    return None

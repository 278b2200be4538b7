"""Options in the words of other tools, and near misses of commands and options, on the real commands."""

import click
import pytest
from click.testing import CliRunner

from s2vc.eval.cli import main as s2vc_eval
from s2vc.eval.cli.sweep import main as s2vc_sweep
from s2vc.pipeline.cli import main as s2vc_prep
from s2vc.training.cli import main as s2vc_train


def said(command: click.Command, *words: str) -> str:
    """Return what a command line prints that is a user's mistake."""
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2, result.output
    return result.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--batch-size", "many"), "'--batch'"),
        (("--batch-size=many",), "'--batch'"),
        (("--learning-rate", "x"), "'--lr'"),
        (("--num-workers", "x"), "'--loader-workers'"),
        (("--moco-m", "x"), "'--momentum'"),
        (("--seq-len", "x"), "'--clip-length'"),
    ],
)
def test_words_that_mean_the_same_are_taken(words: tuple[str, ...], complaint: str) -> None:
    """The value is wrong, so the command names the option that it took the word for."""
    assert f"Invalid value for {complaint}" in said(s2vc_train, "CACHE", *words)


def test_the_first_option_that_a_command_has_is_taken() -> None:
    assert "Invalid value for '--workers'" in said(s2vc_prep, "render", "CACHE", "--num-workers", "x")
    assert "Invalid value for '--frames'" in said(s2vc_eval, "linear", "CACHE", "random", "--num-frames", "x")
    assert "Invalid value for '--batch'" in said(s2vc_sweep, "CACHE", "--batch-size", "x")


@pytest.mark.parametrize(
    ("command", "words", "answer"),
    [
        (s2vc_train, ("CACHE", "--gpus", "2"), "training on N GPUs is --workers N"),
        (s2vc_train, ("run", "CACHE", "--num-gpus=2"), "training on N GPUs is --workers N"),
        (s2vc_eval, ("linear", "CACHE", "r1", "--gpus", "1"), "one GPU, which --device names: cuda:0"),
        (s2vc_eval, ("motion", "CACHE", "--gpus", "1"), "it computes on no GPU"),
        (s2vc_sweep, ("CACHE", "--gpus", "1"), "each run has one GPU to itself"),
        (s2vc_prep, ("encode", "m.csv", "--gpus", "1"), "all GPUs that there are are used"),
        (s2vc_prep, ("fit-flow", "x", "--gpus", "1"), "training on N GPUs is --workers N"),
        (s2vc_prep, ("preview", "CACHE", "--gpus", "1"), "one GPU, which --device names: cuda:0"),
        (s2vc_prep, ("encode", "m.csv", "--resume"), "run the same command again"),
        (s2vc_prep, ("encode", "m.csv", "--batch-size", "4"), "as many frames are computed at a time as the memory"),
        (s2vc_eval, ("linear", "CACHE", "r1", "--num-workers", "4"), "--threads N"),
        (s2vc_eval, ("linear", "CACHE", "r1", "--lr", "1"), "the rate is the recipe's: --recipe"),
        (s2vc_eval, ("order", "CACHE", "r1", "--lr", "1"), "--epochs can be set"),
    ],
)
def test_words_without_an_equal_are_answered_for_the_program(
    command: click.Command, words: tuple[str, ...], answer: str
) -> None:
    printed = said(command, *words)
    assert answer in printed
    assert "Did you mean" not in printed


def test_the_usage_that_is_shown_is_of_the_command() -> None:
    assert "Usage: s2vc-train run [OPTIONS] CACHE" in said(s2vc_train, "CACHE", "--gpus", "2")
    assert "Usage: s2vc-eval linear [OPTIONS] CACHE CHECKPOINT" in said(s2vc_eval, "linear", "C", "r", "--gpus", "2")
    assert "Usage: s2vc-sweep [OPTIONS] [CACHE]" in said(s2vc_sweep, "CACHE", "--gpus", "2")


def test_after_two_dashes_a_word_is_an_argument() -> None:
    assert "--batch-size" in said(s2vc_prep, "verify", "--", "--batch-size")


@pytest.mark.parametrize(
    ("command", "wrong", "right"),
    [(s2vc_prep, ("encod",), "encode"), (s2vc_eval, ("retreival",), "retrieval")],
)
def test_near_misses_of_commands_are_told(command: click.Command, wrong: tuple[str, ...], right: str) -> None:
    assert f"Did you mean '{right}'?" in said(command, *wrong)


def test_near_misses_of_options_are_told() -> None:
    assert "Did you mean '--alpha'?" in said(s2vc_prep, "render", "CACHE", "--alphaa", "0.5")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (s2vc_prep, ("info", "CACHE", "--alpha", "0.5")),
        (s2vc_prep, ("info", "CACHE", "--lr", "1")),
        (s2vc_prep, ("encode", "m.csv", "--patch-side", "4")),
        (s2vc_sweep, ("CACHE", "--loop", "1")),
    ],
)
def test_options_that_are_not_near_are_not_suggested(command: click.Command, words: tuple[str, ...]) -> None:
    assert "mean" not in said(command, *words)


def test_the_example_of_training_has_a_line_of_its_own() -> None:
    lines = [line.strip() for line in CliRunner().invoke(s2vc_train, ["--help"]).output.splitlines()]
    assert "s2vc-train CACHE --alpha 0.5" in lines

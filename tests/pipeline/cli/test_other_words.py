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


def test_words_without_an_equal_are_answered() -> None:
    assert "--workers N" in said(s2vc_train, "CACHE", "--gpus", "2")
    assert "run the same command again" in said(s2vc_prep, "encode", "m.csv", "--resume")


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

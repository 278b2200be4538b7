import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2vc.manifests.errors import UserError, printable, text_problem

ANY_TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None))


@given(ANY_TEXT)
def test_a_users_mistake_is_reported_in_one_line_that_any_terminal_can_show(text):
    message = str(UserError(text))
    assert len(message.encode().splitlines()) <= 1
    assert "\x1b" not in message


@given(ANY_TEXT)
def test_text_without_a_problem_is_utf8_and_stays_as_it_is(text):
    if text_problem(text) == "":
        assert text.encode().decode() == text
        assert printable(text) == text


@pytest.mark.parametrize("text", ["", "00123", "naïve.mp4", "日本語", "a\u00a0b", "\U0001f600.avi", "-x", "'\"=,"])
def test_letters_of_any_language_are_no_problem(text):
    assert text_problem(text) == ""


@pytest.mark.parametrize("control", ["\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_a_problem(control):
    assert text_problem(f"a{control}b") == "has control characters"


def test_bytes_that_are_not_utf8_are_a_problem_and_are_shown_as_bytes():
    name = os.fsdecode(b"caf\xe9\n.mp4")
    assert text_problem(name) == "is not UTF-8"
    assert printable(name) == r"caf\xe9\n.mp4"

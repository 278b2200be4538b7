"""What the script does with parts that fail, hang or are killed: the other answers stay, and what failed is asked
again."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import psutil
import pytest

import s2vc
from tests.gpu import processes
from tests.gpu.__main__ import PATIENCE, ask_all
from tests.gpu.asking import is_done, read_answers
from tests.gpu.parts import PARTS, Part, Place, Question, questions_of
from tests.gpu.processes import CommandFailed, kill_tree, run


def good(place: Place) -> dict[str, Question]:
    return {"one": lambda: 1, "two": lambda: {"x": 2.5}}


def failing(place: Place) -> dict[str, Question]:
    """The first question fails until the file `mended` is there."""

    def first() -> str:
        if not (place.work / "mended").exists():
            raise ValueError("no luck today")
        return "mended"

    return {"first": first, "second": lambda: 2}


def hanging(place: Place) -> dict[str, Question]:
    """The second question starts a program that outlasts everything, and waits for it."""

    def hang() -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        (place.work / "child").write_text(str(child.pid))
        child.wait()

    return {"before": lambda: 1, "hangs": hang, "after": lambda: 3}


def killed(place: Place) -> dict[str, Question]:
    return {"before": lambda: 1, "dies": lambda: os.kill(os.getpid(), signal.SIGKILL), "after": lambda: 3}


def broken(place: Place) -> dict[str, Question]:
    raise OSError("no videos can be drawn")


def part(function: Any, most_seconds: float = 60) -> Part:
    return Part(f"tests.gpu.test_asking:{function.__name__}", 0, most_seconds / PATIENCE)


def asked(tmp_path: Path, parts: dict[str, Part], seconds: float = 120) -> dict[str, Any]:
    out = tmp_path / "out.json"
    ask_all(parts, Place(tmp_path, tmp_path, "cpu", tiny=True), out, time.monotonic() + seconds)
    return read_answers(out)


def test_an_error_hides_no_answer_and_is_asked_again(tmp_path: Path) -> None:
    parts = {"failing": part(failing), "good": part(good)}
    answers = asked(tmp_path, parts)
    assert answers["good"]["figures"] == {"one": 1, "two": {"x": 2.5}}
    assert answers["failing"]["figures"]["second"] == 2
    assert "no luck today" in answers["failing"]["figures"]["first"]["error"]
    assert [is_done(answers[name]) for name in ("failing", "good")] == [False, True]
    (tmp_path / "mended").touch()
    again = asked(tmp_path, parts)
    assert again["failing"]["figures"] == {"first": "mended", "second": 2}
    assert again["good"] == answers["good"]


@pytest.mark.slow
def test_a_part_that_hangs_is_killed_with_its_children_and_the_next_begins(tmp_path: Path) -> None:
    parts = {"hanging": part(hanging, 15), "good": part(good)}
    answers = asked(tmp_path, parts)
    assert answers["hanging"]["ended"] == "killed after 15 s"
    assert answers["hanging"]["figures"]["before"] == 1 and "begun" in answers["hanging"]["figures"]["hangs"]
    assert "one" in answers["good"]["figures"]
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))
    # What hung comes last, so that it keeps no other question from its answer.
    assert asked(tmp_path, parts)["hanging"]["figures"]["after"] == 3


def test_the_answers_of_a_part_that_is_killed_stay(tmp_path: Path) -> None:
    answers = asked(tmp_path, {"killed": part(killed)})
    assert answers["killed"]["ended"] == f"with code {-signal.SIGKILL}"
    assert answers["killed"]["figures"]["before"] == 1
    assert asked(tmp_path, {"killed": part(killed)})["killed"]["figures"]["after"] == 3


def test_a_part_that_cannot_begin_says_why(tmp_path: Path) -> None:
    assert "no videos can be drawn" in asked(tmp_path, {"broken": part(broken)})["broken"]["said"]


def test_no_part_is_begun_with_too_little_time(tmp_path: Path) -> None:
    assert asked(tmp_path, {"good": Part(part(good).function, 30, 60)}, seconds=20) == {}


def test_a_program_that_fails_or_hangs_is_an_error_with_what_it_said_on_stderr() -> None:
    said = "import sys, time; print('out'); print('err', file=sys.stderr, flush=True)"
    with pytest.raises(CommandFailed, match=r"(?s)exit code 3.*out.*") as failed:
        run([sys.executable, "-c", f"{said}; sys.exit(3)"], "it")
    assert "err" in str(failed.value)
    with pytest.raises(CommandFailed, match=r"(?s)killed after 3 s.*err"):
        run([sys.executable, "-c", f"{said}; time.sleep(600)"], "it", limit=3)


def test_a_clone_that_is_not_installed_finds_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def not_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(processes, "version", not_installed)
    processes.let_be_found(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    # -S: without the packages that are installed here.
    command = [sys.executable, "-S", "-c", "from importlib.metadata import version; print(version('s2vc'))"]
    assert subprocess.check_output(command, text=True).strip() == s2vc.__version__


def test_children_that_end_by_themselves_meanwhile_are_no_error() -> None:
    script = "import subprocess\nwhile True: [c.wait() for c in [subprocess.Popen(['true']) for _ in range(4)]]"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", script])
        time.sleep(0.3)
        kill_tree(process.pid)
        assert process.wait() == -signal.SIGKILL


def test_a_tree_whose_root_has_ended_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    kill_tree(process.pid)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_names_its_questions(name: str, tmp_path: Path) -> None:
    questions = questions_of(PARTS[name].function, Place(tmp_path, tmp_path, "cpu", tiny=True))
    assert questions and all(map(callable, questions.values()))

"""Files that appear whole or not at all, where two write the same: a dead driver's step, and its successor's."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from s2vc.pipeline.storage.files import attempt, hashes, remove, remove_half_written
from s2vc.pipeline.storage.held import held

FILES, ROUNDS, WRITERS = 30, 15, 3


def put(target: Path, text: str) -> None:
    """A folder of some files, as an attempt."""
    with attempt(target) as aside:
        aside.mkdir()
        for number in range(FILES):
            (aside / str(number)).write_text(text)


def put_often(target: Path) -> None:
    for _ in range(ROUNDS):
        put(target, "same")


def test_writers_of_the_same_folder_never_take_it_from_each_other_or_from_a_reader(tmp_path: Path) -> None:
    target = tmp_path / "00000"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=put_often, args=(target,)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    while not target.exists():
        time.sleep(0.001)
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(frozenset(hashes([target], tmp_path).items()))
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert len(seen) == 1 and len(next(iter(seen))) == FILES
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_appears_while_a_missing_one_is_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "00000"
    put(target, "same")
    with monkeypatch.context() as before:  # the folder was not there yet when it was looked for
        before.setattr(Path, "is_dir", lambda path: False)
        remove(target)
    assert len(list(target.iterdir())) == FILES


def test_a_folder_with_other_content_is_replaced(tmp_path: Path) -> None:
    put(tmp_path / "00000", "old")
    put(tmp_path / "00000", "new")
    assert {p.read_text() for p in (tmp_path / "00000").iterdir()} == {"new"}
    assert list(tmp_path.iterdir()) == [tmp_path / "00000"]


def be_killed_in_an_attempt(target: Path) -> None:
    with attempt(target) as aside:
        aside.write_text("half of it")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_job_left_goes_when_its_folder_is_held_and_nothing_else(tmp_path: Path) -> None:
    """Files of people's, which only look like it, stay, and so does what lies deeper."""
    for name in ("checkpoint.pt", "curves.png"):
        job = multiprocessing.get_context("spawn").Process(target=be_killed_in_an_attempt, args=(tmp_path / name,))
        job.start()
        job.join()
    assert len(list(tmp_path.glob("*.attempt-*"))) == 2
    kept = [tmp_path / name for name in ("notes.attempt-2", "x.attempt-1-0123abc", "deeper/x.attempt-1-0123abcd")]
    (tmp_path / "deeper").mkdir()
    for path in kept:
        path.touch()
    remove_half_written(tmp_path, "curves.png")
    assert {path.name.split(".")[0] for path in tmp_path.glob("*.attempt-*-????????")} == {"checkpoint"}
    with held(tmp_path):
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([*kept, tmp_path / ".lock"])

"""Files that appear whole or not at all: written under a name of the attempt, synced, renamed.

Two writers of one file never meet: each writes under its own attempt name, and both would rename the same bytes.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

ATTEMPT = ".attempt-"
"""Part of the name of everything that is being written; what a killed job leaves behind is found by it."""

MAX_TEXT = 64 << 20
"""Bytes of a JSON file that are read: what is parsed takes ten times as much memory."""

SPOOL_BYTES = 4 << 20
"""What a spool holds in memory before it goes to disk."""


class Malformed(ValueError):
    """A file that is not what it should be, so that nothing more of it is read; the message is for a person."""


@contextmanager
def attempt(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder at, which becomes `target` when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f"{target.name}{ATTEMPT}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield path
        sync(path)
        if path.is_dir():
            _put_folder(path, target)
        else:
            path.replace(target)
        _sync_one(target.parent)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(target)  # a write does not say what it was that had no room
        remove(path)
        raise


def _put_folder(path: Path, target: Path) -> None:
    """Have a folder at `target`, in place of one that may be there.

    Steps of a driver that was killed live on for a while, and write what its successor writes: the same bytes. What is
    there already stays then, since somebody may be reading it.
    """
    while not _same(path, target):
        remove(target)
        try:
            path.replace(target)
            return
        except OSError as error:  # another was quicker
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    remove(path)


def _same(one: Path, other: Path) -> bool:
    try:
        return other.is_dir() and hashes([one], one) == hashes([other], other)
    except FileNotFoundError:  # it was removed under our eyes
        return False


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        # Renamed first: a reader sees the folder whole or not at all, and a writer beside us never half of it.
        aside = path.with_name(f"{path.name}{ATTEMPT}{os.getpid()}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Everything under a path is on the disk when this returns."""
    if path.is_dir():
        for child in path.iterdir():
            sync(child)
    _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    with attempt(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """JSON as all our files have it, keys in the order given."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """A text file from anybody, UTF-8. Raises Malformed for one of more bytes than `most`, or no regular file."""
    # Not blocking: a pipe in the place of a file would keep us waiting for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Malformed(f"{path} is no regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise Malformed(f"{path} is larger than {most} bytes")
    return content.decode()


def read_json(path: Path) -> Any:
    """JSON from anybody. Raises ValueError, or RecursionError for one that is nested without end."""
    return json.loads(read_text(path))


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(paths: list[Path], root: Path) -> dict[str, str]:
    """SHA-256 of each file, and of each file in each folder, by its POSIX path relative to root, sorted."""
    files = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    return {f.relative_to(root).as_posix(): sha256(f) for f in sorted(files)}


@contextmanager
def flocked(path: Path, how: int = fcntl.LOCK_EX, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    """Hold the lock of a file, made where it is missing; it is gone with the process. Yields the open file.

    flags: how the file is opened; os.O_RDONLY writes nothing, and raises OSError where there is no file. Raises
    BlockingIOError where `how` says not to wait (LOCK_NB) and somebody holds it.
    """
    handle = os.open(path, flags, 0o644)
    try:
        fcntl.flock(handle, how)
        yield handle
    finally:
        os.close(handle)


def clear_attempts(root: Path) -> None:
    """Remove what killed jobs left half written in a cache; only where something is written is looked at."""
    # Not below latents.zarr/NNNNN: a large cache has more folders there than anywhere else, and none is an attempt.
    for folder in (".", "*", "motion/*", "receipts/*", "receipts/motion/*"):
        for path in root.glob(f"{folder}/*{ATTEMPT}*"):
            remove(path)


def describe_os_error(error: OSError) -> str:
    """What storage answered, in one line for a person; HDF5 would say it in ten."""
    if error.errno is None or error.errno not in errno.errorcode:
        return (str(error).splitlines() or [type(error).__name__])[0]
    where = f"{error.filename}".split(ATTEMPT)[0] + ": " if error.filename else ""
    return f"{where}{os.strerror(error.errno)}"


def spool(folder: Path) -> IO[bytes]:
    """A nameless scratch file in the folder, in memory while it is small; gone when closed, or when we are killed."""
    return tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=str(folder))

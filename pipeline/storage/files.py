"""Files are written under a temporary name, synced, and renamed, so that they appear complete or not at all.

Two writers of one file do not disturb each other: each has a temporary name of its own, and both rename the same bytes.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

ATTEMPT = ".attempt-"
"""What is being written has this after its name, then the number of the process, a hyphen, and eight characters of its
own; by this the remains of a killed job are found."""

_HALF_WRITTEN = re.compile(rf"(.+){re.escape(ATTEMPT)}\d+-\w{{8}}", re.DOTALL)

MAX_TEXT = 64 << 20
"""A JSON file of more bytes is not read, since parsing takes ten times as much memory."""

SPOOL_BYTES = 4 << 20
"""A spool holds this many bytes in memory before it goes to disk."""


class Malformed(ValueError):
    """The file is not what it should be, so no more of it is read; the message is for a person."""


@contextmanager
def attempt(target: Path) -> Iterator[Path]:
    """Yield a path for a file or folder, which becomes `target` if the block ends without an error, else is removed."""
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
            error.filename = str(target)  # the error of a write does not name the file
        remove(path)
        raise


def _put_folder(path: Path, target: Path) -> None:
    """Rename the folder `path` to `target`, in place of a folder that may be there.

    The steps of a driver that was killed run on for a while, and write the same bytes as those of its successor. A
    folder with these bytes that is there already stays, since somebody may be reading it.
    """
    while not _same(path, target):
        remove(target)
        try:
            path.replace(target)
            return
        except OSError as error:  # another process was quicker
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    remove(path)


def _same(one: Path, other: Path) -> bool:
    try:
        return other.is_dir() and hashes([one], one) == hashes([other], other)
    except FileNotFoundError:  # it was removed meanwhile
        return False


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; it may be missing."""
    if path.is_dir() and not path.is_symlink():
        # The folder is renamed first, so that readers and other writers find all of it or nothing.
        aside = path.with_name(f"{path.name}{ATTEMPT}{os.getpid()}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with suppress(IsADirectoryError):  # a folder that another process has put there just now
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return when everything under a path is on the disk."""
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
    """Write a text file (UTF-8) in one step."""
    with attempt(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """Return JSON in the form that all our files have, with keys in the order given."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """Return the text of a UTF-8 file that anybody may have written.

    Raises Malformed if it has more than `most` bytes or is no regular file, and ValueError if it is not UTF-8.
    """
    # The file is opened without blocking, since a pipe in its place would keep us waiting for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Malformed(f"{path} is no regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise Malformed(f"{path} is larger than {most} bytes")
    return content.decode()


def read_json(path: Path) -> Any:
    """Return the JSON of a file that anybody may have written.

    Raises ValueError, or RecursionError if it is nested too deeply.
    """
    return json.loads(read_text(path))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(paths: list[Path], root: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, and of each file in each folder, by its POSIX path relative to root, sorted."""
    files = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    return {f.relative_to(root).as_posix(): sha256(f) for f in sorted(files)}


@contextmanager
def flocked(path: Path, how: int = fcntl.LOCK_EX, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    """Hold the lock of a file, and yield its descriptor. A missing file is made; the lock ends with the process.

    how: the mode of flock. flags: how the file is opened; with os.O_RDONLY nothing is written, and a missing file
    raises OSError. Raises BlockingIOError if `how` says not to wait (LOCK_NB) and another process holds the lock.
    """
    handle = os.open(path, flags, 0o644)
    try:
        fcntl.flock(handle, how)
        yield handle
    finally:
        os.close(handle)


def half_written(name: str) -> str | None:
    """Return the name of the file or folder that was being written under this name, or None if none was.

    What a person has called like it, such as notes.attempt-2, is no attempt.
    """
    match = _HALF_WRITTEN.fullmatch(name)
    return match[1] if match else None


def remove_half_written(folder: Path, of: str = "") -> None:
    """Remove what killed jobs left half written directly in a folder, which may be missing: all, or the file `of`."""
    for path in folder.iterdir() if folder.is_dir() else ():
        whole = half_written(path.name)
        if whole is not None and of in ("", whole):
            remove(path)


def clear_attempts(root: Path) -> None:
    """Remove what killed jobs left half written in a cache; only folders that jobs write into are searched."""
    # Folders below latents.zarr/NNNNN are not searched: a large cache has more there than anywhere else, and none is
    # temporary.
    for pattern in ("*", "motion/*", "receipts/*", "receipts/motion/*"):
        for folder in root.glob(pattern):
            remove_half_written(folder)
    remove_half_written(root)


def describe_os_error(error: OSError) -> str:
    """Describe an error of the storage in one line for a person; HDF5's own text may have ten."""
    if error.errno is None or error.errno not in errno.errorcode:
        return (str(error).splitlines() or [type(error).__name__])[0]
    where = f"{error.filename}".split(ATTEMPT)[0] + ": " if error.filename else ""
    return f"{where}{os.strerror(error.errno)}"


def spool(folder: Path) -> IO[bytes]:
    """Return a nameless scratch file in the folder, in memory while small; it ends with its process or when closed."""
    return tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=str(folder))

"""Disks of a test's own, to fill, to lose and to make read-only; a test is skipped where nothing can be mounted."""

import math
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

PAGE = 4096
"""Bytes in which a tmpfs gives out its space."""


def system(*command: object) -> None:
    """A command of the system. Raises CalledProcessError where it fails."""
    subprocess.run([str(c) for c in command], check=True, capture_output=True)


def mount(*arguments: object) -> None:
    """`mount` with arguments; skips the test where it is not permitted."""
    try:
        system("mount", *arguments)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs to mount, which is not permitted here: {error}")


def unmount(folder: Path) -> None:
    """Gone at once, open files or not; nothing mounted is fine."""
    with suppress(OSError, subprocess.CalledProcessError):
        system("umount", "-l", folder)


def tmpfs(folder: Path, size: int) -> None:
    """A new disk in memory at a folder, of so many bytes."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)


def resize(folder: Path, size: int) -> None:
    """The tmpfs at a folder has so many bytes from now on."""
    mount("-o", f"remount,size={size}", folder)


def ext4(image: Path, folder: Path, size: int = 64 << 20) -> None:
    """A new disk with a file system as servers have it, in an image file, at a folder."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    with image.open("wb") as file:
        file.truncate(size)
    system("mkfs.ext4", "-q", image)
    folder.mkdir()
    mount("-o", "loop", image, folder)


def space_of(files: Iterable[Path]) -> int:
    """Bytes that files take on a tmpfs."""
    return sum(math.ceil(f.stat().st_size / PAGE) * PAGE for f in files)

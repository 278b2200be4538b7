"""Mount disks that a test may fill, lose or make read-only; the test is skipped where nothing can be mounted."""

import math
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

PAGE = 4096
"""A tmpfs gives out its space in pages of this many bytes."""


def system(*command: object) -> None:
    """Run a command of the system. Raises CalledProcessError if it fails."""
    subprocess.run([str(c) for c in command], check=True, capture_output=True)


def mount(*arguments: object) -> None:
    """Run `mount` with arguments; skip the test if that is not permitted."""
    try:
        system("mount", *arguments)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs to mount, which is not permitted here: {error}")


def unmount(folder: Path) -> None:
    """Unmount a folder at once, even while files in it are open; do nothing if nothing is mounted there."""
    with suppress(OSError, subprocess.CalledProcessError):
        system("umount", "-l", folder)


def tmpfs(folder: Path, size: int) -> None:
    """Mount a new disk in memory, of `size` bytes, at a new folder."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)


def resize(folder: Path, size: int) -> None:
    """Change the size of the tmpfs at a folder to `size` bytes."""
    mount("-o", f"remount,size={size}", folder)


def ext4(image: Path, folder: Path, size: int = 64 << 20) -> None:
    """Mount a new disk of `size` bytes at a new folder; its ext4 file system lies in an image file."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    with image.open("wb") as file:
        file.truncate(size)
    system("mkfs.ext4", "-q", image)
    folder.mkdir()
    mount("-o", "loop", image, folder)


def space_of(files: Iterable[Path]) -> int:
    """Return how many bytes files take on a tmpfs."""
    return sum(math.ceil(f.stat().st_size / PAGE) * PAGE for f in files)

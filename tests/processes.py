"""The processes that a test has started."""

from collections.abc import Callable
from contextlib import suppress

import psutil


def below(pid: int, wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """The descendants of a process that are wanted; those that go while they are looked at are left out."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # gone, or dead and not yet collected
            if wanted(child):
                found.append(child)
    return found

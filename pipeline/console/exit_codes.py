"""Define the exit codes of every command line. A command ends by `raise Exit(code)`, which click handles at the top."""

from click.exceptions import Exit

__all__ = ["EXIT_FAILED_VIDEOS", "EXIT_INTERRUPTED", "EXIT_STORAGE_FAILS", "EXIT_UNFINISHED", "EXIT_USER_ERROR", "Exit"]

EXIT_UNFINISHED = 1
EXIT_STORAGE_FAILS = 1
EXIT_USER_ERROR = 2
EXIT_FAILED_VIDEOS = 3
EXIT_INTERRUPTED = 130

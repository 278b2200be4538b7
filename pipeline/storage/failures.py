"""This module tells failing storage from damaged files, by what errors say; it imports nothing heavy."""

import errno

STORAGE_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.EREMOTEIO)
"""An OSError with one of these numbers means that storage fails, such as a full disk or a lost mount. This is nobody's
mistake, and the same call may succeed once the storage works again."""


def speaks_of_failing_storage(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised for, says that storage fails."""
    while error is not None:
        if getattr(error, "errno", None) in STORAGE_FAILS:
            return True
        error = error.__cause__ or error.__context__
    return False


def speaks_of_damage(error: BaseException) -> bool:
    """Return whether a reader's OSError is about one file that is missing or damaged, and not about the storage: HDF5
    gives no number where it cannot unpack what it has read, and names one where reading failed."""
    if isinstance(error, FileNotFoundError):
        return True
    return type(error) is OSError and error.errno is None and "errno = " not in str(error)

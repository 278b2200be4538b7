"""This module tells failing storage from damaged files, by the numbers of errors; it imports nothing heavy."""

import errno

STORAGE_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.EREMOTEIO)
"""An OSError with one of these numbers means that storage fails, such as a full disk or a lost mount. This is nobody's
mistake, and the same call may succeed once the storage works again."""

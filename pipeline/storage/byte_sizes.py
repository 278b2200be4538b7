"""Numbers of bytes as people write them."""

import re

from s2vc.manifests.errors import UserError

LOCAL_CACHE_SIZE = "50GB"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def bytes_of(text: str) -> int:
    """Return the bytes of a size as people write it: 50GB, 1.5 TB, 800MiB, 4096. Raises UserError for other text."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    if match is None:
        raise UserError(f"{text!r} is no size; write 50GB, or 800MB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])

"""Hash a folder's content, so that tests can compare caches."""

from pathlib import Path

from s2vc.pipeline.storage.files import sha256


def tree(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `root` except the lock, by its relative path."""
    return {p.relative_to(root).as_posix(): sha256(p) for p in root.rglob("*") if p.is_file() and p.name != ".lock"}

"""Provide the commands of the reference run, with whose result tests compare runs that are disturbed."""

from pathlib import Path

SHARDS = 3


def encode_command(folder: Path, out: Path, workers: int = 2, root: Path | None = None) -> list[object]:
    """Return the arguments that encode a folder's m.csv, with its videos or those under another root."""
    return [
        "encode", folder / "m.csv", "--root", root or folder / "videos", "--out", out,
        "--size", "64x86", "--shard-size", 2, "--workers", workers,
    ]  # fmt: skip


def render_command(out: Path, workers: int = 2) -> list[object]:
    """Return the arguments that render that cache."""
    return ["render", out, "--alpha", "0.5", "--workers", workers]

"""The calls whose undisturbed run others are compared with."""

from pathlib import Path

SHARDS = 3


def encode_command(folder: Path, out: Path, workers: int = 2, root: Path | None = None) -> list[object]:
    """encode of a folder's m.csv and videos, or of those under another root."""
    return [
        "encode", folder / "m.csv", "--root", root or folder / "videos", "--out", out,
        "--size", "64x86", "--shard-size", 2, "--workers", workers,
    ]  # fmt: skip


def render_command(out: Path, workers: int = 2) -> list[object]:
    return ["render", out, "--alpha", "0.5", "--workers", workers]

"""How an evaluation ends: it prints what it has written and, with --json, its result."""

from pathlib import Path

from rich.console import Console

from s2vc.eval.results_folder import TABLE
from s2vc.pipeline.console.terminal import print_json, print_paths
from s2vc.pipeline.storage.files import read_json


def print_saved(console: Console, result: Path, *pictures: Path) -> None:
    """Print the paths of a result, of its pictures and of the table it is in; with --json, print the result's own
    document, and its path under "file"."""
    print_paths(console, result, *pictures, result.parent / TABLE)
    print_json({"file": str(result), **read_json(result)})

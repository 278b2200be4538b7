"""Small libraries in C that a process loads before its own: the allocator, or the clock, as no machine here has it."""

import shutil
import subprocess
from pathlib import Path

import pytest


def build(name: str, folder: Path) -> dict[str, str]:
    """Compile NAME.c; the variable that has a process, and all it starts, load it. Skips without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}

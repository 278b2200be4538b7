"""Build small C libraries that replace functions of a process, so that it meets a jumping clock or a lack of memory."""

import shutil
import subprocess
from pathlib import Path

import pytest


def build(name: str, folder: Path) -> dict[str, str]:
    """Compile NAME.c into a folder; return the environment variable with which a process and its children load it.

    Skips the test if there is no compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}

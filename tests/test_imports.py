"""Who imports whom, as the sources say: one way through packages and folders, no circle, and little where one computes.

Nothing is imported for it but in the last test.
"""

import ast
import graphlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from s2vc.pipeline.console.extras import EXTRA_OF

ROOT = Path(__file__).parents[1]
PACKAGES = ("manifests", "pipeline", "training", "eval")
FOLDERS = (
    "storage", "cluster", "cache", "stages", "jobs", "verify", "preview", "export", "flow_fitting", "info", "demo",
    "console", "cli",
)  # fmt: skip
"""Of pipeline, from low to high. Below them is the ground: flow, and the modules straight below pipeline."""


def find_modules() -> dict[str, Path]:
    """The file of each module, by its name in `s2vc`."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    parts = {path: ("s2vc", *path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): path for path, p in parts.items()}


MODULES = find_modules()


@cache
def imports(module: str, types: bool = True) -> frozenset[str]:
    """What a module of ours imports, within functions, too. types: also what it imports for type checkers alone."""
    tree = ast.parse(MODULES[module].read_text())
    if not types:
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{module}: imports are absolute"
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else node.module for name in inner.values())
    return frozenset(found)


def loaded(module: str) -> set[str]:
    """The modules of ours that are loaded with a module, if all its functions are called, and with its submodules."""
    seen: set[str] = set()
    left = [name for name in MODULES if f"{name}.".startswith(f"{module}.")]
    while left:
        name = left.pop()
        if name in MODULES and name not in seen:
            seen.add(name)
            left += [*imports(name), name.rpartition(".")[0]]
    return seen


def libraries(module: str) -> set[str]:
    """The libraries of others that are imported by a module, and by what is loaded with it."""
    names = {name.partition(".")[0] for one in loaded(module) for name in imports(one)}
    return names - sys.stdlib_module_names - {"s2vc"}


def place(module: str) -> tuple[int, int]:
    """Package and, within pipeline, folder of a module, as places in the order."""
    _, package, *inner = module.split(".")
    if package != "pipeline" or not inner or inner[0] == "flow" or MODULES[module].parent == ROOT / "pipeline":
        return PACKAGES.index(package), -1
    return PACKAGES.index(package), FOLDERS.index(inner[0])


def test_imports_run_one_way() -> None:
    arrows = [(one, other) for one in MODULES for other in imports(one) if other in MODULES]
    back = [f"{one} -> {other}" for one, other in arrows if place(other) > place(one)]
    assert not back, "\n".join(back)


def test_no_circle() -> None:
    graph = {module: imports(module, types=False) & MODULES.keys() for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())  # or it raises CycleError, which names the circle


def test_training_and_eval_use_no_command_of_s2vc_prep() -> None:
    commands = {name for name in MODULES if f"{name}.".startswith("s2vc.pipeline.cli.")}
    above = [module for module in MODULES if place(module) > place("s2vc.pipeline.cli")]
    users = [module for module in above if imports(module) & commands]
    assert not users, "\n".join(users)


@pytest.mark.parametrize("module", ["pipeline.flow", "pipeline.static_cues", "training.backbones", "training.moco"])
def test_what_computes_imports_torch_and_numpy_only(module: str) -> None:
    assert libraries(f"s2vc.{module}") <= {"torch", "numpy", "safetensors"}


@pytest.mark.parametrize("command", ["manifest", "encode", "render", "verify", "export"])
def test_a_node_that_encodes_needs_no_extra(command: str) -> None:
    assert libraries(f"s2vc.pipeline.cli.{command}") & EXTRA_OF.keys() == set()


def test_importing_what_computes_is_light() -> None:
    heavy = ["pandas", "pyarrow", "ray", "zarr", "h5py", "kornia"]
    code = "import sys, s2vc.pipeline.flow, s2vc.pipeline.static_cues, s2vc.training.backbones, s2vc.training.moco\n"
    code += f"print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

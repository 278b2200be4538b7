"""The wheel: what it holds, and that it works beside packages of the names that ours have in the repository; what is
said where an extra is not installed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "src", "manifests", "pipeline", "training", "eval", "recipes")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree, since a build writes into it, and without the network."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tree)
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, tree], check=True)
    (built,) = out.iterdir()
    return built


def test_the_wheel_holds_s2vc_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names} == {"s2vc", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    packaged = {
        f"s2vc/{path.relative_to(ROOT)}"
        for package in ("manifests", "pipeline", "training", "eval", "recipes")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".safetensors", ".html", ".css", ".yaml")
    }
    assert {name for name in names if name.startswith("s2vc/")} == packaged | {"s2vc/__init__.py", "s2vc/py.typed"}


def test_it_works_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    installed, stranger = tmp_path / "installed", tmp_path / "stranger"
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", installed, wheel], check=True)
    for package in ("training", "eval", "manifests"):
        (stranger / package).mkdir(parents=True)
        (stranger / package / "__init__.py").write_text("raise ImportError('a package of somebody else')\n")
    (stranger / "pipeline.py").write_text("raise ImportError('a module of somebody else')\n")

    def run(*arguments: str) -> str:
        env = os.environ | {"PYTHONPATH": str(installed)}
        done = subprocess.run([sys.executable, *arguments], cwd=stranger, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import s2vc.training.clips, s2vc.eval.retrieval; print(s2vc.training.clips.__file__)")
    assert Path(where.strip()) == installed / "s2vc" / "training" / "clips.py"
    recipes = run("-c", "from s2vc.eval.sweep.recipe import read_recipe; print(read_recipe('ucf101').reader)")
    assert recipes.strip() == "ucf101", "recipes are found by their names"
    assert "encode" in run("-m", "s2vc.pipeline.cli", "--help")


@pytest.mark.parametrize(
    ("main", "arguments", "library", "extra"),
    [
        ("s2vc.pipeline.cli:main", ["preview", "--help"], "PIL", "eval"),
        ("s2vc.eval.cli:sweep_main", ["--alphas", "0.5", "--help"], "kornia", "train"),
    ],
)
def test_a_library_that_is_missing_is_one_line(main: str, arguments: list[str], library: str, extra: str) -> None:
    module, name = main.split(":")
    code = f"import sys; sys.modules[{library!r}] = None; from {module} import {name}; {name}()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    line = f": this needs {library}, which is not installed: pip install 's2vc[{extra}]'\n"
    assert done.returncode == 2 and done.stderr.endswith(line) and done.stderr.count("\n") == 1, done.stderr

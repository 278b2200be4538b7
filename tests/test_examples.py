"""Examples and the tour run as they stand; of what needs a toolbox that is not here, as much as can be looked at."""

import ast
import json
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from tests.test_docs import MODULES, check_call, find_name, imported_names

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"
TINY = ["--split", "all", "--steps", "2", "--batch", "2", "--frames", "4", "--size", "32"]


@pytest.mark.parametrize(("example", "library"), [("plain_loop", "torch"), ("with_lightly", "lightly")])
def test_a_loop_makes_steps(example: str, library: str, cache_path: Path) -> None:
    pytest.importorskip(library, reason=f"needs {library}, which is not installed")
    command = [sys.executable, ROOT / "examples" / f"{example}.py", cache_path, *TINY]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["step 1", "step 2"]


def test_mmaction2_is_given_what_export_writes(cache_path: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    result = cli("export", cache_path, "--alpha", "0.5", "--out", tmp_path)
    assert result.exit_code in (0, 3), result.output
    config = runpy.run_path(str(ROOT / "examples" / "mmaction2_slowonly.py"))
    folder = tmp_path / Path(config["clips"]).name
    for loader in ("train_dataloader", "val_dataloader"):
        dataset = config[loader]["dataset"]
        listed = folder / Path(dataset["ann_file"]).name
        lines = [line.split(" ") for line in listed.read_text().splitlines()]
        assert lines and all((folder / name).is_file() and label.isdigit() for name, label in lines)
        assert dataset["type"] == "VideoDataset" and dataset["data_prefix"] == {"video": config["clips"]}


def test_mmaction2_reads_its_configuration() -> None:
    mmengine = pytest.importorskip("mmengine", reason="needs mmengine, which is not installed")
    config = mmengine.Config.fromfile(str(ROOT / "examples" / "mmaction2_slowonly.py"))
    assert config.model.cls_head.num_classes == config.classes


def tour_cells() -> list[list[str]]:
    """The lines of each cell of code of the tour."""
    content = json.loads(TOUR.read_text())
    return ["".join(cell["source"]).splitlines() for cell in content["cells"] if cell["cell_type"] == "code"]


def commands_of(cell: list[str]) -> Iterator[list[str]]:
    """The words of each command of a cell."""
    yield from (shlex.split(line[1:]) for line in cell if line.startswith("!"))


def test_the_tour_s_commands_and_names_exist_and_it_holds_no_outputs() -> None:
    cells = tour_cells()
    words = [call for cell in cells for call in commands_of(cell)]
    assert len(words) >= 3
    for call in words:
        check_call(call)
    code = "\n".join(line for cell in cells for line in cell if not line.startswith("!"))
    assert not [name for name in imported_names(code) if not find_name(name)]
    content = json.loads(TOUR.read_text())
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in content["cells"])


@pytest.mark.slow
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell, as a notebook runs them; of what a cell ends with, the HTML is made where there is some."""
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    drawn = 0
    for cell in tour_cells():
        for words in commands_of(cell):
            command = [sys.executable, "-m", MODULES[words[0]], *words[1:]]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        tree = ast.parse("\n".join(line for line in cell if not line.startswith("!")))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "tour", "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "tour", "eval"), space)
            drawn += "<table>" in getattr(value, "_repr_html_", str)()
    assert drawn == 2, "the cache and a video"

"""A sweep as the report shows it: means over seeds, every trial, and the curve over alpha (Fig. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from s2vc.eval.report.pictures import Picture, Pictures
from s2vc.eval.report.tables import Cell, heading, number_cell
from s2vc.eval.sweep.plan import BASELINE, SweepFolder
from s2vc.eval.sweep.table import summary
from s2vc.manifests.errors import UserError


@dataclass(frozen=True)
class SweepTable:
    """Holds headings of texts and of numbers, and the rows that stand under them."""

    texts: list[str]
    numbers: list[str]
    rows: list[tuple[list[str], list[Cell]]]


@dataclass(frozen=True)
class SweepView:
    """Holds what the page shows of a sweep."""

    name: str
    folder: str
    means: SweepTable
    trials: SweepTable
    curve: Picture | None


def view_sweep(root: Path, pictures: Pictures) -> SweepView:
    """Describe a sweep. Raises UserError where sweep.csv cannot be read."""
    folder, name = SweepFolder(root), root.resolve().name
    trials = _read(folder.table)
    numbers = [str(c) for c in trials if "/" in str(c)]
    curve = pictures.take(folder.curve, f"Curve of {name}") if folder.curve.is_file() else None
    return SweepView(name, str(root), _means(trials, numbers), _trials(trials, numbers), curve)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
        described = table[["arm", "seed", "kept"]]
        numbers = table.drop(columns=[*described.columns, *(["split"] if "split" in table else [])])
        if not all(pd.api.types.is_numeric_dtype(table[c]) for c in ("seed", "kept", *numbers)):
            raise ValueError("a number is none")
    except (OSError, ValueError, KeyError) as error:  # Pandas' own errors are ValueErrors.
        raise UserError(f"{path} is damaged: {error}") from None
    return table


def _means(trials: pd.DataFrame, numbers: Sequence[str]) -> SweepTable:
    """Tabulate, by arm, the mean of each number over seeds, and the gain over MoCo where there is MoCo."""
    with_gain = bool((trials["arm"] == BASELINE).any())
    rows = []
    for row in summary(trials).to_dict("records"):
        cells = [_cell("kept", row["kept"]), Cell(str(row["seeds"]))]
        for number in numbers:
            cells.append(_with_error(number, row[number], row[f"{number} ±"]))
            if with_gain:
                gain = f"{number} − {BASELINE}"
                cells.append(_with_error(number, row.get(gain), row.get(f"{gain} ±"), "+"))
        rows.append(([str(row["arm"])], cells))
    gains = ["gain"] * with_gain
    return SweepTable(["arm"], [heading("kept"), "seeds", *(h for n in numbers for h in (heading(n), *gains))], rows)


def _trials(trials: pd.DataFrame, numbers: Sequence[str]) -> SweepTable:
    texts = ["arm", *(["split"] if "split" in trials else []), "seed"]
    rows = [
        ([str(row[text]) for text in texts], [_cell(n, row[n]) for n in ("kept", *numbers)])
        for row in trials.to_dict("records")
    ]
    return SweepTable(texts, [heading(n) for n in ("kept", *numbers)], rows)


def _cell(name: str, value: Any) -> Cell:
    return number_cell(name, None if value is None else float(value))


def _with_error(name: str, value: Any, error: Any, sign: str = "") -> Cell:
    mean, spread = _cell(name, value), _cell(name, error)
    text = f"{sign * (mean.text[0].isdigit() and value > 0)}{mean.text}"
    return Cell(f"{text} ± {spread.text}" if spread.exact else text, mean.exact)

"""Tables of results, task by task: a row for each result of ours, then the paper's rows, and why not to compare
them."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from s2vc.eval.defaults import NATURAL, REDRAWN
from s2vc.eval.labelled import UNSEEN
from s2vc.eval.paper import DATASETS, TABLES, PaperRow, PaperTable, evaluation_settings, pretraining_settings
from s2vc.eval.report.comparison import differences
from s2vc.eval.report.result_files import Result
from s2vc.training.settings import MAY_CHANGE

TITLES = {
    "retrieval": "Video retrieval",
    "linear": "Linear probe",
    "finetune": "Fine-tuning",
    "order": "Natural or shuffled",
    "static-bias": "Static bias",
    "similarity": "Similarity of frames",
    "normality": "Normality of latents",
    "saliency": "Saliency and optical flow",
    "motion": "Share of moving pixels",
    "people": "Share of people",
}

SHARE = re.compile(r"([\w-]+/)?(recall@\d+|top\d+|(\w+_)?class_mean|(\w+_)?accuracy)|kept")
"""These numbers are shares of videos, shown as percent; more is better."""

EMPTY = "–"

VARIED_SETTINGS = ("checkpoint", "weights", "method", "alpha", "keep", "variant", "draws", "flow", "seed", "eval_seed")
"""A table is there to compare these: results that differ in nothing else are comparable."""

COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("net", lambda c: c.get("backbone")),
    ("method", lambda c: c.get("method")),
    ("key clips", lambda c: c.get("variant") or (f"alpha {c['alpha']}" if c.get("alpha") else None)),
    ("epochs", lambda c: c.get("epochs")),
    ("head", lambda c: c.get("head")),
    ("key aug.", lambda c: c.get("key_augment")),
    ("split", lambda c: c.get("split")),
    ("stored", lambda c: c.get("stored")),
    ("frames", lambda c: _frames(c)),
    ("their order", lambda c: c.get("frame_order") if c.get("frame_order") != NATURAL else None),
    ("size", lambda c: f"{c['size']}²" if c.get("size") else None),
    ("seed", lambda c: c.get("seed", c.get("eval_seed"))),
    ("unseen", lambda c: f"{c[UNSEEN]:.1%}" if c.get(UNSEEN) else None),
)
"""These are the headings, and what stands there, of a result's JSON or of a row of the paper in the same words.
unseen: test videos whose class no training video shows."""

PRETRAINING_COLUMNS = ("method", "variant", "epochs", "head", "key_augment")
"""These of COLUMNS describe the pre-training."""


@dataclass(frozen=True)
class Cell:
    """Shows a number in a table. text: as shown. exact: as recorded. best: the highest of its column among comparable
    rows."""

    text: str = EMPTY
    exact: str = ""
    value: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """Shows a row of a table. mark: R1, … of a result, empty for the paper's. Of the paper's: remark, why it is not
    comparable; comparable, with which results; other_work, whether it is another work's."""

    mark: str
    name: str
    title: str
    settings: list[str]
    cells: list[Cell]
    remark: str = ""
    comparable: list[str] = field(default_factory=list)
    other_work: bool = False


@dataclass(frozen=True)
class Group:
    """Groups rows. heading: the paper's table; empty for ours. remark: what holds for all its rows."""

    heading: str
    remark: str
    rows: list[Row]


@dataclass(frozen=True)
class TaskTable:
    """Represents the table of a task. headings: of the settings. metrics: of the numbers."""

    title: str
    headings: list[str]
    metrics: list[str]
    groups: list[Group]
    results: list[Result]


def tables(results: Sequence[Result]) -> list[TaskTable]:
    """Make a table for each task, known tasks first, with the paper's rows of the task below ours."""
    tasks = {r.task: None for r in results}
    order = sorted(tasks, key=lambda t: list(TITLES).index(t) if t in TITLES else len(TITLES))
    return [_table(task, [r for r in results if r.task == task]) for task in order]


def _table(task: str, results: list[Result]) -> TaskTable:
    metrics = list({name: None for r in results for name in r.numbers})
    ours = Group("", "", [_row(r, metrics) for r in results])
    paper = [_paper_group(table, results, metrics) for table in TABLES if table.task == task]
    groups = _with_best([ours, *paper], {r.mark: _protocol(r) for r in results})
    headings, groups = _without_empty([name for name, _ in COLUMNS], groups)
    return TaskTable(TITLES.get(task, task), headings, [heading(m) for m in metrics], groups, results)


def _without_empty(headings: list[str], groups: list[Group]) -> tuple[list[str], list[Group]]:
    """Leave out the settings' columns that say nothing in any row of the table."""
    rows = [row.settings for group in groups for row in group.rows]
    kept = [n for n in range(len(headings)) if any(row[n] != EMPTY for row in rows)]
    cut = [
        replace(group, rows=[replace(row, settings=[row.settings[n] for n in kept]) for row in group.rows])
        for group in groups
    ]
    return [headings[n] for n in kept], cut


def _row(result: Result, metrics: Iterable[str]) -> Row:
    checkpoint = str(result.content.get("checkpoint") or result.content.get("cache", ""))
    cells = [number_cell(name, result.numbers.get(name)) for name in metrics]
    return Row(result.mark, Path(checkpoint).name or EMPTY, checkpoint, _settings(result.content), cells)


def _settings(content: dict[str, Any]) -> list[str]:
    values = (show(content) for _, show in COLUMNS)
    return [EMPTY if value is None or value == "" else str(value) for value in values]


def _frames(content: dict[str, Any]) -> str | None:
    frames, step = content.get("frames"), content.get("frame_step", 1)
    return f"{frames} / {step}" if frames and step != 1 else str(frames) if frames else None


def number_cell(name: str, value: float | None) -> Cell:
    """Show a number under a heading; shares are percent."""
    if value is None or math.isnan(value):
        return Cell()
    text = f"{100 * value:.1f}" if SHARE.fullmatch(name) else plain_number(value)
    return Cell(text, repr(value), float(text) if SHARE.fullmatch(name) else None)


def plain_number(value: float) -> str:
    """Write a number with four digits or more, without an exponent where it is large: 0.1235, 31,234,567."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def heading(metric: str) -> str:
    """Write a number's name as a heading, with its unit."""
    name = re.sub(r"\btop(?=\d)", "top-", metric).replace("recall@", "R@")
    return re.sub("[/_]", " ", name) + (" %" if SHARE.fullmatch(metric) else "")


def _paper_group(table: PaperTable, results: list[Result], metrics: list[str]) -> Group:
    """Group the rows of a table of the paper; what keeps all of its own rows from comparison is said once."""
    reasons = [{r.mark: differences(r, table, row) for r in results} for row in table.rows]
    # A result whose run is not at hand has fewer differences, since little is known of it: it comes last.
    nearest = [min(results, key=lambda r: (r.training_settings is None, len(found[r.mark]))).mark for found in reasons]
    own = [found[mark] for row, found, mark in zip(table.rows, reasons, nearest, strict=True) if row.pretraining]
    common = [reason for reason in own[0] if all(reason in others for others in own)]
    rows = []
    for row, found, mark in zip(table.rows, reasons, nearest, strict=True):
        left = [reason for reason in found[mark] if reason not in common] or ["as above"] * bool(common)
        beside = f" ({mark} is the nearest)" if row.pretraining and left and len(results) > 1 else ""
        comparable = [mark for mark, why in found.items() if not why]
        rows.append(_paper_row(table, row, metrics, "; ".join(left) + beside, comparable))
    return Group(f"{table.name}: {TITLES[table.task].lower()}, {DATASETS[table.dataset]}", "; ".join(common), rows)


def _paper_row(table: PaperTable, row: PaperRow, metrics: list[str], remark: str, comparable: list[str]) -> Row:
    content = {}
    if row.pretraining:
        content = {name: pretraining_settings(row).get(name) for name in PRETRAINING_COLUMNS}
        content |= evaluation_settings(table, row)
        content["variant"] = (content["variant"] or "").removesuffix(f", {REDRAWN}")
    values = dict(zip(table.metrics, row.values, strict=True))
    cells = [Cell() if (v := values.get(m)) is None else Cell(f"{v:.1f}", str(v), v) for m in metrics]
    settings = _settings(content | {"backbone": row.net})
    return Row("", row.method, "", settings, cells, remark, comparable, other_work=not row.pretraining)


def _protocol(result: Result) -> tuple[Any, ...] | None:
    """Give a key that is equal for results that may be compared; None where the run of the backbone is not at hand."""
    if result.training_settings is None:
        return None
    ignored = (*VARIED_SETTINGS, *MAY_CHANGE)
    made = {f"trained {k}": v for k, v in asdict(result.training_settings).items() if k not in ignored}
    # A file may be replaced by another, and a run may not have come to its end.
    made |= {"trained init": result.init_weights or made["trained init"], "trained to epoch": result.epochs_done}
    described = {k: v for k, v in result.description.items() if k != UNSEEN or v}
    return tuple((k, str(v)) for k, v in sorted((described | made).items()) if k not in VARIED_SETTINGS)


def _with_best(groups: list[Group], protocols: dict[str, Any]) -> list[Group]:
    """Mark the highest share of each column, among two or more rows that may be compared."""
    best: dict[tuple[Any, int], list[float]] = {}
    for group in groups:
        for row in group.rows:
            for protocol in _protocols(row, protocols):
                for number, found in enumerate(row.cells):
                    if found.value is not None:
                        best.setdefault((protocol, number), []).append(found.value)

    def marked(row: Row) -> Row:
        cells = list(row.cells)
        for protocol in _protocols(row, protocols):
            for number, found in enumerate(cells):
                rivals = best.get((protocol, number), [])
                if len(rivals) > 1 and found.value == max(rivals):
                    cells[number] = replace(found, best=True)
        return replace(row, cells=cells)

    return [replace(group, rows=[marked(row) for row in group.rows]) for group in groups]


def _protocols(row: Row, protocols: dict[str, Any]) -> set[Any]:
    marks = [row.mark] if row.mark else row.comparable
    return {protocols[mark] for mark in marks} - {None}

"""What a sweep found: a row per trial, means and standard errors over seeds, and the curve over alpha (Fig. 3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from s2vc.eval.defaults import VALIDATION
from s2vc.eval.sweep.plan import BASELINE, SweepFolder, Trial
from s2vc.eval.sweep.protocol import Protocol
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.figures import save_figure
from s2vc.pipeline.variants import Variant

TESTED_NOTE = "All numbers are of test videos: an arm that is chosen by them is chosen on test videos."

SPLITS_NOTE = "Mean over the splits ± their sample standard deviation; a split has the mean over its seeds."

MAIN_NUMBERS = ("recall@1", "top1")
"""The curve shows these numbers of a task."""


def trial_table(folder: SweepFolder, trials: Sequence[Trial], protocol: Protocol) -> pd.DataFrame:
    """Make a row for each trial that is evaluated, and for each split it is evaluated on: arm, split where there are
    several, seed, share kept, and each number as TASK/NUMBER."""
    kept, rows = folder.kept_shares(), []
    names = {part.key: part for part in protocol.parts}
    for trial in trials:
        by_split: dict[str | None, dict[str, float]] = {}
        for key, found in folder.numbers(trial).items():
            part = names.get(key)
            values = by_split.setdefault(part.split if part and part.split else trial.split, {})
            values |= {f"{part.name if part else key}/{name}": value for name, value in found.items()}
        for split, values in by_split.items():
            where = {"split": split} if split else {}
            rows.append({"arm": trial.arm, **where, "seed": trial.seed, "kept": kept.get(trial.arm), **values})
    return pd.DataFrame(rows, columns=None if rows else ["arm", "seed", "kept"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Summarise over seeds, by arm: n, mean and standard error of each number, and the difference to MoCo, paired by
    seed. With several splits: over these, mean and sample standard deviation of what each split has on average over
    its seeds; differences are paired by split and seed.
    Columns NUMBER, NUMBER ±, NUMBER − moco, NUMBER − moco ±; an error of one seed, or one split, is NaN."""
    numbers = [c for c in table if "/" in c]
    trial = ["split", "seed"] if "split" in table else ["seed"]
    base = table[table["arm"] == BASELINE].set_index(trial)
    rows = []
    for arm, group in table.groupby("arm", sort=False):
        row: dict[str, object] = {"arm": arm, "kept": group["kept"].iloc[0], "seeds": group["seed"].nunique()}
        if "split" in group:
            row["splits"] = group["split"].nunique()
        by_trial = group.set_index(trial)
        for number in numbers:
            row[number], row[f"{number} ±"] = mean_and_error(by_trial[number])
            if arm != BASELINE and number in base:
                gain = (by_trial[number] - base[number]).dropna()
                row[f"{number} − {BASELINE}"], row[f"{number} − {BASELINE} ±"] = mean_and_error(gain)
        rows.append(row)
    return pd.DataFrame(rows)


def mean_and_error(values: pd.Series) -> tuple[float, float]:
    """Compute mean and standard error (sample deviation over √n) of some values; NaN where there are too few. Of values
    whose index has a level `split`: mean and sample deviation of the means of the splits."""
    values = values.dropna()
    by_split = "split" in values.index.names
    found = (values.groupby(level="split").mean() if by_split else values).to_numpy(float)
    if len(found) == 0:
        return float("nan"), float("nan")
    error = found.std(ddof=1) / (1 if by_split else np.sqrt(len(found))) if len(found) > 1 else float("nan")
    return float(found.mean()), float(error)


def chosen_arms(means: pd.DataFrame) -> dict[str, str]:
    """Choose, for each task with validation numbers, the variant whose main one is the highest: {task: arm}. MoCo is
    what they are compared with, and is not chosen."""
    arms = means[means["arm"] != BASELINE]
    chosen = {}
    for number in main_numbers(means):
        task, _, _ = number.partition("/")
        if task.endswith(f"-{VALIDATION}") and arms[number].notna().any():
            chosen[task.removesuffix(f"-{VALIDATION}")] = str(arms["arm"][arms[number].idxmax()])
    return chosen


def choice_notes(means: pd.DataFrame) -> list[str]:
    """Say, for each task with validation numbers, which arm they choose, and what it reaches on test videos."""
    rows = means.set_index("arm")
    notes = []
    for task, arm in chosen_arms(means).items():
        row = rows.loc[arm]
        names = [n for n in main_numbers(means) if n.partition("/")[0] in (task, f"{task}-{VALIDATION}")]
        reached = {n.partition("/")[0]: _with_error(row[n], row[f"{n} ±"]) for n in names}
        tested = reached.get(task) or "not done yet"
        notes.append(
            f"{task}: {arm} is chosen by validation videos ({reached[f'{task}-{VALIDATION}']}); test: {tested}"
        )
    return notes


def markdown(means: pd.DataFrame, only: Sequence[str] | None = None) -> str:
    """Write the summary for people, a table per task: per cent, mean ± standard error; gains over MoCo are paired by
    seed.
    only: numbers to show, in one table; None shows all."""
    numbers = [c for c in means if "/" in c and not c.endswith("±") and BASELINE not in c]
    if only is not None:
        return _markdown_table(means, [n for n in numbers if n in only])
    tasks = sorted(dict.fromkeys(n.split("/")[0] for n in numbers), key=lambda task: not task.endswith(VALIDATION))
    return "\n".join(
        f"## {task}\n\n{_markdown_table(means, [n for n in numbers if n.startswith(task + '/')])}" for task in tasks
    )


def _markdown_table(means: pd.DataFrame, numbers: Sequence[str]) -> str:
    splits = ["splits"] * ("splits" in means)
    described = ["arm", "latents kept", *splits, "seeds"]
    titles = {n: tested_title(n) for n in numbers}
    head = [*described, *(title for n in numbers for title in (titles[n], f"gain over {BASELINE}"))]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in means.to_dict("records"):
        cells = [str(row["arm"]), _percent(row["kept"]), *(str(row[name]) for name in (*splits, "seeds"))]
        for number in numbers:
            gain = f"{number} − {BASELINE}"
            cells.append(_with_error(row[number], row[f"{number} ±"]))
            cells.append(_with_error(row.get(gain), row.get(f"{gain} ±"), "+"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tested_title(number: str) -> str:
    """Give a number's heading, which says so if it is of test videos, as it is unless it says validation."""
    return number if VALIDATION in number else f"{number} (test)"


def main_numbers(means: pd.DataFrame) -> list[str]:
    """Select the columns that stand for a task: recall@1, top1."""
    return [c for c in means if c.split("/")[-1] in MAIN_NUMBERS]


def write_tables(
    folder: SweepFolder, trials: Sequence[Trial], variants: Sequence[Variant], protocol: Protocol
) -> pd.DataFrame:
    """Write sweep.csv, sweep.md and curve.png of what is evaluated so far, and give the summary."""
    table = trial_table(folder, trials, protocol)
    files.write_text(folder.table, table.to_csv(index=False, lineterminator="\n"))
    if table.empty:
        return table
    means = summary(table)
    chosen = choice_notes(means) or [TESTED_NOTE]
    notes = [*chosen, *([SPLITS_NOTE] if "splits" in means else [])]
    head = "".join(f"{note}\n\n" for note in notes)
    files.write_text(folder.summary, head + markdown(means))
    plot_curve(means, variants, folder.curve)
    return means


def plot_curve(means: pd.DataFrame, variants: Sequence[Variant], path: Path) -> None:
    """Plot each task's main number over alpha (or the share to keep), a line per strategy, with MoCo as a level.

    Under each alpha stands the share of latents that strategy `zero` keeps there. Bars are standard errors.
    """
    from matplotlib.figure import Figure

    numbers, by_arm = main_numbers(means), means.set_index("arm")
    figure = Figure(figsize=(5 * max(len(numbers), 1), 4), layout="constrained")
    for axes, number in zip(np.atleast_1d(figure.subplots(1, max(len(numbers), 1))), numbers, strict=False):
        ticks: dict[float, str] = {}
        for (level, strategy), line in _lines(variants, by_arm).items():
            x, names = zip(*sorted(line), strict=True)
            y, error = by_arm.loc[list(names), number], by_arm.loc[list(names), f"{number} ±"].fillna(0)
            axes.errorbar(x, 100 * y, 100 * error, marker="o", capsize=3, label=f"{strategy}, by {level}")
            for at, name in zip(x, names, strict=True):
                ticks.setdefault(at, f"{at:g}")
                if strategy == "zero":
                    ticks[at] = f"{at:g}\n{_percent(by_arm.loc[name, 'kept'])}"
        if BASELINE in by_arm.index:
            mean, spread = (100 * np.nan_to_num(by_arm.loc[BASELINE, c]) for c in (number, f"{number} ±"))
            axes.axhline(mean, color="grey", linestyle=":", label="MoCo")
            axes.axhspan(mean - spread, mean + spread, color="grey", alpha=0.15)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlabel("alpha, or share to keep; latents kept")
        axes.set_ylabel(f"{tested_title(number)}, %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(figure, path, dpi=130)


def _lines(variants: Sequence[Variant], by_arm: pd.DataFrame) -> dict[tuple[str, str], list[tuple[float, str]]]:
    """List the points (x, arm) of each line: variants of one kind of level and one strategy."""
    lines: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for variant in variants:
        if variant.name in by_arm.index:
            level, x = ("alpha", variant.alpha) if variant.alpha is not None else ("keep", variant.keep)
            assert x is not None
            lines.setdefault((level, variant.strategy), []).append((x, variant.name))
    return lines


def _percent(share: object) -> str:
    return "" if share is None or pd.isna(share) else f"{float(str(share)):.1%}"


def _with_error(value: object, error: object, sign: str = "") -> str:
    if value is None or pd.isna(value):
        return ""
    text = f"{100 * float(str(value)):{sign}.1f}"
    return text if error is None or pd.isna(error) else f"{text} ± {100 * float(str(error)):.1f}"

"""Each row of the paper's own that can be made here is comparable with a result that is made as it was."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from s2vc.eval.paper import (
    PRETRAINING_VIDEOS,
    REDRAWN,
    SPLIT_VIDEOS,
    TABLES,
    PaperRow,
    PaperTable,
    evaluation_settings,
)
from s2vc.eval.report.comparison import differences
from s2vc.training.dpc_settings import DPC_METHODS
from s2vc.training.settings import PRESETS, merge_settings, settings_yaml
from tests.eval.report.test_page import read_one

OWN = [(table, row) for table in TABLES for row in table.rows if row.pretraining]


def as_made(folder: Path, table: PaperTable, row: PaperRow) -> dict[str, Any]:
    """Write the run that a row means, by presets and defaults, and return a result of the whole dataset with it."""
    made = row.pretraining
    variant = made.get("variant", "").partition(", ")[0]
    chosen = {
        "method": made["method"],
        "backbone": row.net,
        "epochs": made["epochs"],
        "cache": f"/data/{made['dataset']}",
    }
    preset = {} if made["method"] in DPC_METHODS else PRESETS[made["dataset"]]
    settings = merge_settings(preset, chosen | ({"variant": [variant]} if variant else {}))
    if made["method"] not in DPC_METHODS:
        settings = dataclasses.replace(settings, queue=settings.queue_limit)
    folder.mkdir()
    (folder / "settings.yaml").write_text(settings_yaml(settings))
    steps = [f"{n},{n},1.0,0.5,0.5,0.5,0.001,9.0,0.0" for n in range(1, made["epochs"] + 1)]
    (folder / "metrics.csv").write_text("\n".join(["step,epoch,loss", *steps]) + "\n")
    train, test = SPLIT_VIDEOS[table.dataset]
    counts = {
        "retrieval": {"gallery": f"/data/{table.dataset}", "gallery_videos": train, "queries": 9},
        "order": {},
    }.get(table.task, {"train_videos": train})
    evaluated = {k: v for k, v in evaluation_settings(table, row).items() if k != "dataset"}
    trained = {"trained_videos": PRETRAINING_VIDEOS[made["dataset"]], "trained_split": "split1"}
    return {
        "task": table.task, "cache": f"/data/{table.dataset}", "checkpoint": str(folder), "eval_seed": 0, "seed": 0,
        **evaluated, **trained, **counts, "test_videos": test * (2 if table.task == "order" else 1),
        "method": made["method"], "head": settings.head, "key_augment": settings.key_augment, "epochs": made["epochs"],
        "variant": variant,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "row"), OWN, ids=lambda part: part.name if isinstance(part, PaperTable) else f"{part.method} {part.net}"
)
def test_a_result_made_as_a_row_is_comparable_with_it(table: PaperTable, row: PaperRow, tmp_path: Path) -> None:
    found = differences(read_one(tmp_path / "r", as_made(tmp_path / "run", table, row)), table, row)
    if REDRAWN in row.pretraining.get("variant", ""):
        assert len(found) == 1 and REDRAWN in found[0], "rendered once here"
    else:
        assert found == []


def test_a_run_that_does_not_say_its_split_is_not_taken_for_the_first(tmp_path: Path) -> None:
    table, row = next(
        (t, r) for t, r in OWN if r.pretraining["method"] == "moco" and r.pretraining["dataset"] == "ucf101"
    )
    result = as_made(tmp_path / "run", table, row)
    del result["trained_split"]
    assert "pre-training split the first here, split1 in the paper" in differences(
        read_one(tmp_path / "r", result), table, row
    )

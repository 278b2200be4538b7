"""Recipes: what those of the package mean, what their commands are, what they cost, and one that is run for real."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner

from s2vc.eval.paper import TABLE_1_CLIPS, TABLES
from s2vc.eval.sweep.cost import seconds_of_training
from s2vc.eval.sweep.plan import Trial
from s2vc.eval.sweep.recipe import Command, read_recipe, recipe_commands, recipe_names
from s2vc.eval.sweep.recipe_cost import cost_of_recipe
from s2vc.eval.sweep.recipe_options import as_words
from s2vc.manifests.errors import UserError
from s2vc.training.backbones import build_backbone
from s2vc.training.clip_shapes import CLIP_LENGTHS
from s2vc.training.moco import MoCo
from s2vc.training.settings import PRESETS, TrainingSettings
from tests.support.clips import moving_square, write_clip

LIMIT = 1_200.0
PAPER = ("ucf101", "hmdb51", "k200", "k400")


def commands(name: str, **over: Any) -> list[Command]:
    from s2vc.eval.cli.sweep import main

    return recipe_commands(read_recipe(name), Path("out"), Path("videos"), [Path("lists")], over, main)


def parsed(command: Command) -> dict[str, Any]:
    """The values that the real command line of a sweep reads."""
    from s2vc.eval.cli.sweep import main

    context = main.make_context("s2vc-sweep", list(command.words[1:]))
    return {p.name or "": context.params.get(p.name or "") for p in main.params}


def test_the_recipes_of_the_paper_are_there() -> None:
    assert {*PAPER, "sample"} <= set(recipe_names())


@pytest.mark.parametrize("name", [*PAPER, "sample"])
def test_every_command_of_a_recipe_is_one_that_its_program_takes(name: str, tmp_path: Path) -> None:
    from s2vc.pipeline.cli.encode import encode_command
    from s2vc.pipeline.cli.manifest import manifest_command

    made, encode, *sweeps, report = [c.words for c in commands(name)]
    (tmp_path / "videos.csv").touch()
    assert encode_command.make_context("encode", [str(tmp_path / "videos.csv"), *encode[3:]]).params["frame_size"]
    assert made[:3] == ("s2vc-prep", "manifest", read_recipe(name).reader)
    reader = manifest_command.commands[made[2]]  # type: ignore[attr-defined]
    known = {opt for p in reader.params for opt in p.opts}
    assert {word for word in made if word.startswith("--")} <= known
    for words in sweeps:
        assert words[0] == "s2vc-sweep" and parsed(Command(words))["tasks"]
    outs = [words[words.index("--out") + 1] for words in sweeps]
    assert list(report[2:-2]) == outs, "the page has every sweep"


def trained_in(name: str) -> list[tuple[set[str], dict[str, Any]]]:
    """Of each sweep of a recipe: the variants' names, and what was parsed."""
    found = []
    for command in commands(name)[2:-1]:
        values = parsed(command)
        clip = f"clip{CLIP_LENGTHS[values['backbone']]}"
        variants = {
            f"keep0.2-tfd-{clip}" if s == "tfd" else f"alpha{a:g}-{s}-{clip}"
            for s in values["strategies"]
            for a in values["alphas"]
        }
        assert values["scope"] == "clip" and values["clip_length"] is None
        found.append((variants, values))
    return found


def test_every_row_of_the_papers_tables_1_to_4_is_trained_and_evaluated_by_a_recipe() -> None:
    """By the paper's own rows: method, variant, backbone, epochs, data of pre-training, task and dataset."""
    evaluated = set()
    for name in PAPER:
        for variants, values in trained_in(name):
            data = "ucf101" if name == "hmdb51" else name
            dataset = Path(values["eval_cache"]).parent.name if values["eval_cache"] else name
            epochs = values["epochs"] or PRESETS[values["preset"]]["epochs"]
            classified = (values["classify_size"], values["classify_frames"], values["train_views"])
            for task in values["tasks"]:
                windows = classified if task in ("linear", "finetune") else None
                for variant in (None, *variants):
                    evaluated.add((task, dataset, values["backbone"], data, epochs, variant, windows))
    rows = 0
    for table in TABLES:
        for row in table.rows if table.name in ("Table 1", "Table 2", "Table 3", "Table 4") else ():
            if row.pretraining:
                made = row.pretraining
                variant = made.get("variant", "").split(",")[0] or None
                # Table 1: sizes and frames of the published commands, and views that are drawn anew.
                windows = (*TABLE_1_CLIPS.get(row.net, (None, None)), 0) if table.name == "Table 1" else None
                wanted = (table.task, table.dataset, row.net, made["dataset"], made["epochs"], variant, windows)
                assert wanted in evaluated, wanted
                rows += 1
    assert rows == 5 * 4 + 3 + 3 + 2 * 6


def test_runs_that_recipes_share_are_trained_alike() -> None:
    """Sweeps with one folder of runs differ in how they evaluate, and in nothing that is trained."""
    for name, other in (("hmdb51", "ucf101"), ("k200", "k200"), ("k400", "k400")):
        mine = [(v, p) for v, p in trained_in(name) if p["runs"]]
        theirs = {str(p["out"] / "runs"): (v, p) for v, p in trained_in(other)}
        assert mine
        for variants, values in mine:
            same, trained = theirs[str(values["runs"])]
            evaluating = {"out", "runs", "eval_cache", "eval_split", "cache", "tasks"}
            assert variants == same
            assert {k: v for k, v in values.items() if k not in evaluating} == {
                k: v for k, v in trained.items() if k not in evaluating
            }
    assert Trial(None, 0).name == "moco-seed0", "a name says nothing of the evaluation"


def test_lists_are_written_as_the_command_takes_them() -> None:
    """The real command line reads them back as they were."""
    from s2vc.eval.cli.sweep import main

    given = {"alphas": [0.1, 0.5], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "decays": [0.5, 0.75]}
    given |= {"query-scale": [0.5, 1], "eval": ["retrieval", "linear"], "epochs": 3, "log": ["wandb", "mlflow"]}
    words = as_words(given, main)
    params = main.make_context("s2vc-sweep", ["CACHE", *words]).params
    assert params["mean"] == (0.4, 0.5, 0.6) and params["std"] == (0.2, 0.3, 0.4)
    assert params["decays"] == (0.5, 0.75) and params["log"] == ("wandb", "mlflow")
    assert params["alphas"] == (0.1, 0.5) and params["tasks"] == ("retrieval", "linear")
    assert params["query_scale"] == (0.5, 1) and params["epochs"] == 3


def test_options_become_words() -> None:
    from s2vc.eval.cli.sweep import main

    options = {"alphas": [0.1, 0.5], "query-scale": [0.5, 1], "evict": True, "compile": False, "size": 32, "init": None}
    assert as_words(options, main) == ["--alphas", "0.1,0.5", "--query-scale", "0.5", "1", "--evict", "--size", "32"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": []}, "a recipe has no 'tables'"),
        ({"sweeps": {"a": {"train": {"learning-rate": 1}}}}, "there is no option --learning-rate"),
        ({"encode": {"speed": 3}}, "encode: there is no option --speed"),
        ({"encode": {"size": [64, 86]}}, "encode: --size cannot be [64, 86]: '64,86' is no size"),
        ({"encode": {"size": "large"}}, "encode: --size cannot be large: 'large' is no size"),
        ({"encode": {"fit": "stretch"}}, "encode: --fit cannot be stretch: 'stretch' is not one of"),
        ({"encode": {"frame-step": 0}}, "encode: --frame-step cannot be 0: 0 is not in the range"),
        ({"encode": {"retry": ["slow"]}}, "encode: --retry cannot be ['slow']: 'slow' is not one of"),
        ({"encode": {"out": "elsewhere"}}, "encode: there is no option --out"),
        ({"sweeps": {"a": {"train": {"mean": [0.5, 0.5]}}}}, "sweep a: --mean cannot be [0.5, 0.5]: it is 3 values"),
        ({"sweeps": {"a": {"train": {"epochs": "many"}}}}, "sweep a: --epochs cannot be many"),
        ({"sweeps": {"a": {"render": {"alphas": ["high"]}}}}, "sweep a: --alphas cannot be ['high']"),
        ({"sweeps": {"a": {"train": {"symmetric": 1}}}}, "sweep a: --symmetric cannot be 1"),
        ({"manifest": {"lists": "--lists"}}, "is no recipe: 'reader'"),
        ({"counts": {}}, "has no counts of cache to estimate by"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    from s2vc.eval.cli.sweep import main

    content = yaml.safe_load((Path(__file__).parents[3] / "recipes" / "sample.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content | change))
    done = CliRunner().invoke(main, ["--recipe", str(tmp_path / "mine.yaml"), "--dry-run", "--out", str(tmp_path)])
    assert done.exit_code == 2 and message in done.output, done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "ucf102"], "there is no recipe ucf102: give a file, or one of hmdb51, k200"),
        (["cache", "--recipe", "sample"], "leave CACHE out"),
        (["--recipe", "sample", "--lr", "3"], "--lr is for the recipe to say"),
        (["--recipe", "sample"], "say where the videos are: --videos"),
        ([], "say which CACHE, or which --recipe"),
    ],
)
def test_mistakes_with_a_recipe_are_one_line(arguments: list[str], message: str) -> None:
    from s2vc.eval.cli.sweep import main

    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and message in done.output, done.output


def test_a_dry_run_prints_commands_bytes_and_hours_by_the_counts(tmp_path: Path) -> None:
    """1,000 frames of 64x86 with latents in float16, in two sweeps: of tfd and zero, and of zero."""
    from s2vc.eval.cli.sweep import main

    arguments = ["--recipe", "sample", "--dry-run", "--out", str(tmp_path / "o"), "--seeds", "2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines()]
    shown = [line for line in lines if line.startswith("s2vc-")]
    expected = recipe_commands(read_recipe("sample"), tmp_path / "o", None, [], {"seeds": 2}, main)
    assert shown == [shlex.join(c.words) for c in expected] and all("--seeds 2" in s for s in shown[2:-1])
    text = " ".join(lines)
    assert "4 runs" in text and "6 runs" in text and re.search(r"in all: about .* (s|min|h) on this machine", text)
    assert "hours" not in text
    assert not (tmp_path / "o").exists()


def test_bytes_are_those_of_the_formats(tmp_path: Path) -> None:
    """A correction has 64 x 64 x 3 bytes; encoder, key encoder and Adam's two moments are four times its weights."""
    encoded, (tables, strategies) = cost_of_recipe(read_recipe("sample"), tmp_path, {"seeds": 2})
    assert (tables.runs, strategies.runs) == (2 * 2, 3 * 2)
    weights, corrections = sum(p.numel() for p in build_backbone("r3d18").parameters()), 1200 * 64 * 64 * 3
    assert tables.bytes - corrections == pytest.approx(4 * 4 * 4 * weights, rel=0.05)
    assert strategies.bytes - 2 * corrections == pytest.approx(6 * 4 * 4 * weights, rel=0.05)
    assert strategies.train_seconds == pytest.approx(tables.train_seconds * 6 / 4)
    assert 1200 * 12288 * 2 < encoded.bytes < 1200 * 50_000, "latents of 2 bytes are the most of a frame"


def test_a_symmetric_run_takes_the_time_of_the_clips_that_its_encoders_see() -> None:
    clips = torch.rand(4, 3, 4, 32, 32)
    seen = []
    for symmetric in (False, True):
        model, counted = MoCo(build_backbone("r3d18"), queue=0, groups=1, symmetric=symmetric), []
        for encoder in (model.encoder_q, model.encoder_k):
            encoder.register_forward_pre_hook(lambda module, given, counted=counted: counted.append(len(given[0])))
        model(clips, clips)
        seen.append(sum(counted))
    asymmetric, symmetric = (
        seconds_of_training(TrainingSettings(negatives="batch", symmetric=s), 10, 0.5) for s in (False, True)
    )
    assert asymmetric == 10 * TrainingSettings.batch * 0.5
    assert symmetric / asymmetric == seen[1] / seen[0]


@pytest.mark.parametrize(
    ("folders", "found"),
    [(("train/a", "train/b"), "has 2 train:"), (("train/a", "neutral/a"), "has no split column:")],
)
def test_videos_without_a_test_part_are_refused_before_they_are_encoded(
    folders: tuple[str, ...], found: str, tmp_path: Path
) -> None:
    from s2vc.eval.cli.sweep import main

    for folder in folders:
        write_clip(tmp_path / "videos" / folder / "1.mp4", moving_square(4))
    arguments = ["--recipe", "sample", "--videos", str(tmp_path / "videos"), "--out", str(tmp_path / "out")]
    for dry_run in ([], ["--dry-run"]):
        done = CliRunner().invoke(main, [*arguments, *dry_run])
        assert done.exit_code == 2 and found in done.output, done.output
    assert not (tmp_path / "out" / "sample" / "cache").exists()


@pytest.mark.slow
def test_a_recipe_runs_from_videos_to_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in range(2):
        for number in range(5):
            frames = moving_square(20, seed=number + 5 * kind)
            frames[..., kind] = np.clip(frames[..., kind] / 3 + rng.integers(0, 9), 0, 255)
            part = "train" if number < 3 else "test"
            write_clip(tmp_path / "videos" / part / f"c{kind}" / f"{number}.mp4", frames)
    arguments = ["--recipe", "sample", "--videos", tmp_path / "videos", "--out", tmp_path / "out"]
    line = [sys.executable, "-m", "s2vc.eval.cli.sweep", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Trial _trainable" not in done.stdout + done.stderr
    folder = tmp_path / "out" / "sample"
    tables = pd.read_csv(folder / "tables" / "sweep.csv")
    assert tables["arm"].tolist() == ["moco", "alpha0.5-zero-clip8"]
    for task in ("retrieval-validation/recall@1", "retrieval/recall@1", "linear/top1", "finetune/top1"):
        assert tables[task].between(0, 1).all()
    arms = pd.read_csv(folder / "strategies" / "sweep.csv")["arm"].tolist()
    assert arms == ["moco", "keep0.2-tfd-clip8", "alpha0.5-zero-clip8"]
    assert "Fine-tuning" in (folder / "report.html").read_text()
    assert json.loads((folder / "cache" / "cache.json").read_text())["frame_size"] == [64, 86]
    before = {p: p.read_bytes() for p in folder.rglob("metrics.csv")}
    again = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert again.returncode == 0 and again.stdout.count("all done before") == 2, again.stdout + again.stderr
    assert {p: p.read_bytes() for p in folder.rglob("metrics.csv")} == before


def test_a_recipe_that_is_not_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="is no recipe"):
        read_recipe(str(tmp_path / "a.yaml"))

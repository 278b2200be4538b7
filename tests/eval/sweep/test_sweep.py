"""The sweep: what it plans and shares out, its tables; the real command, killed and gone on with, evicting."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from s2vc.eval.evaluated_backbone import load_evaluated_backbone
from s2vc.eval.evaluation import Evaluation
from s2vc.eval.sweep.cost import plan_run
from s2vc.eval.sweep.plan import SweepFolder, Trial, example_settings, plan_trials, shared_settings, unfinished_trials
from s2vc.eval.sweep.protocol import Protocol
from s2vc.eval.sweep.run import TrialResources, share_resources
from s2vc.eval.sweep.table import choice_notes, chosen_arms, main_numbers, markdown, plot_curve, summary
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage.held import held
from s2vc.pipeline.variants import Variant
from s2vc.training.prepare import with_regime
from s2vc.training.regimes import REGIMES
from s2vc.training.run_folder import read_metrics
from s2vc.training.settings import PRESETS

LIMIT = 400.0
EPOCHS, STEPS = 4, 8

HALF, SOME = Variant(alpha=0.5), Variant(keep=0.2)


def test_every_arm_runs_with_every_seed_and_the_baseline_first() -> None:
    trials = plan_trials([HALF, SOME], seeds=2)
    assert [t.name for t in trials[:3]] == ["moco-seed0", "alpha0.5-zero-video-seed0", "keep0.2-zero-video-seed0"]
    assert [t.seed for t in trials] == [0, 0, 0, 1, 1, 1]
    assert trials[0].settings({"lr": 1.0}) == {"lr": 1.0, "method": "moco", "seed": 0}
    assert trials[4].settings({}) == {"method": "s2vc", "variant": ["alpha0.5-zero-video"], "seed": 1}


def test_a_trial_is_finished_when_each_task_is_evaluated(tmp_path: Path) -> None:
    folder, trials = SweepFolder(tmp_path), plan_trials([], seeds=2)
    folder.write_numbers(trials[0], {"retrieval": {"recall@1": 0.5}})
    assert unfinished_trials(folder, trials, Protocol(("retrieval",))) == [trials[1]]
    assert unfinished_trials(folder, trials, Protocol(("retrieval", "linear"))) == trials
    assert unfinished_trials(folder, trials, Protocol(("retrieval",), "validation")) == trials
    folder.write_numbers(trials[0], {"retrieval": {}, "retrieval-validation": {"recall@1": 0.5}})
    assert unfinished_trials(folder, trials, Protocol(("retrieval",), "validation")) == [trials[1]]


def test_numbers_of_a_run_that_was_trained_anew_do_not_count(tmp_path: Path) -> None:
    folder, (trial,) = SweepFolder(tmp_path), plan_trials([], seeds=1)
    checkpoint = folder.run(trial) / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    folder.write_numbers(trial, {"retrieval": {"recall@1": 0.5}})
    assert folder.numbers(trial) == {"retrieval": {"recall@1": 0.5}}
    checkpoint.write_bytes(b"other weights")
    assert folder.numbers(trial) == {}
    checkpoint.unlink()  # Somebody made room: what was found is still true.
    assert folder.numbers(trial) == {"retrieval": {"recall@1": 0.5}}


@pytest.mark.parametrize(("cpus", "readers"), [(1, 1), (2, 1), (4, 3), (64, 8)])
def test_a_trial_reads_by_its_own_part_of_the_cpus(cache_path: Path, tmp_path: Path, cpus: int, readers: int) -> None:
    backbone = load_evaluated_backbone("random")
    console = Console(quiet=True)
    asked = Evaluation(Cache(cache_path), "random", backbone, None, 32, 8, 1, 0, tmp_path, console, cpus=cpus)
    assert asked.readers == readers


@pytest.mark.parametrize(
    ("nodes", "gpus", "trials", "asked", "expected"),
    [
        ([2], 0, 9, None, TrialResources(1, 0, 2)),
        ([2], 0, 1, None, TrialResources(2, 0, 1)),
        ([64], 8, 30, None, TrialResources(8, 1, 8)),
        ([64], 8, 3, None, TrialResources(21, 1, 3)),
        ([16], 0, 30, 4, TrialResources(4, 0, 4)),
        ([4], 8, 30, None, TrialResources(1, 1, 4)),
        ([16, 16, 16], 0, 2, None, TrialResources(16, 0, 2)),  # not 24, which no machine has
        ([6, 6], 0, 9, 4, TrialResources(4, 0, 2)),
    ],
)
def test_trials_are_packed_on_gpus_or_cores(
    nodes: list[int], gpus: int, trials: int, asked: int | None, expected: TrialResources
) -> None:
    assert share_resources(nodes, gpus, trials, asked) == expected
    assert expected.cpus * expected.parallel_trials <= sum(nodes)


def test_a_trial_larger_than_any_machine_is_refused() -> None:
    with pytest.raises(UserError, match="a trial of 3 CPUs does not fit: the largest machine has 2"):
        share_resources([2, 2], 0, 4, 3)


def made_up() -> pd.DataFrame:
    """Two arms and MoCo; seed 2 of one arm is missing."""
    rng = np.random.default_rng(0)
    rows = [
        {"arm": arm, "seed": seed, "kept": kept, "retrieval/recall@1": value, "linear/top1": rng.random()}
        for arm, kept, values in (
            ("moco", None, (0.2, 0.3, 0.4)),
            (HALF.name, 0.18, (0.3, 0.5, 0.4)),
            (SOME.name, 0.2, (0.1, 0.3)),
        )
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_means_have_standard_errors_and_gains_are_paired_by_seed(tmp_path: Path) -> None:
    means = summary(made_up()).set_index("arm")
    number, gain = "retrieval/recall@1", "retrieval/recall@1 − moco"
    assert means.loc[HALF.name, number] == pytest.approx(0.4)
    assert means.loc[HALF.name, f"{number} ±"] == pytest.approx(0.1 / np.sqrt(3))
    assert means.loc[HALF.name, gain] == pytest.approx((0.1 + 0.2 + 0.0) / 3)
    assert means.loc[HALF.name, f"{gain} ±"] == pytest.approx(0.1 / np.sqrt(3))  # of 0.1, 0.2 and 0.0
    assert means.loc[SOME.name, gain] == pytest.approx(-0.05)  # over the two seeds that both have
    assert means.loc[SOME.name, "seeds"] == 2
    message = markdown(summary(made_up()))
    assert "retrieval/recall@1 (test)" in message
    assert "40.0 ± 5.8 | +10.0 ± 5.8" in message and "## linear" in message and "18.0%" in message
    assert main_numbers(summary(made_up())) == [number, "linear/top1"]
    plot_curve(summary(made_up()), [HALF, SOME], tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").size[0] > 800


def of_splits() -> pd.DataFrame:
    """One arm and MoCo on three splits, with two seeds each."""
    values = {"moco": [[10, 30], [40, 40], [30, 10]], HALF.name: [[30, 30], [50, 70], [20, 40]]}
    rows = [
        {"arm": arm, "split": f"split{n}", "seed": seed, "kept": None, "retrieval/recall@1": value / 100}
        for arm, splits in values.items()
        for n, seeds in enumerate(splits, 1)
        for seed, value in enumerate(seeds)
    ]
    return pd.DataFrame(rows)


def test_splits_have_a_mean_and_a_deviation_of_their_own() -> None:
    """By hand: MoCo's splits have 20, 40, 20; the arm's 30, 60, 30, with gains of 10, 20, 10."""
    means = summary(of_splits()).set_index("arm")
    number, gain = "retrieval/recall@1", "retrieval/recall@1 − moco"
    assert means.loc[HALF.name, number] == pytest.approx(0.4)
    assert means.loc[HALF.name, f"{number} ±"] == pytest.approx(np.sqrt(3) / 10)  # not over the root of 3, nor of 6
    assert means.loc[HALF.name, gain] == pytest.approx(0.4 / 3)
    assert means.loc[HALF.name, f"{gain} ±"] == pytest.approx(0.1 / np.sqrt(3))
    assert (means.loc[HALF.name, "splits"], means.loc[HALF.name, "seeds"]) == (3, 2)
    assert "| splits | seeds |" in markdown(summary(of_splits())) and "40.0 ± 17.3" in markdown(summary(of_splits()))
    assert [t.name for t in plan_trials([HALF], 1, ("split1", "split2"))] == [
        "moco-split1-seed0", f"{HALF.name}-split1-seed0", "moco-split2-seed0", f"{HALF.name}-split2-seed0",
    ]  # fmt: skip
    assert Trial(None, 0, "split2").settings({"split": "split1"})["split"] == "split2"


def test_validation_videos_choose_and_test_videos_do_not() -> None:
    rows = [
        {"arm": arm, "seed": 0, "kept": None, "retrieval-validation/recall@1": validated, "retrieval/recall@1": tested}
        for arm, validated, tested in (("moco", 0.9, 0.2), (HALF.name, 0.3, 0.8), (SOME.name, 0.4, 0.5))
    ]
    means = summary(pd.DataFrame(rows))
    assert chosen_arms(means) == {"retrieval": SOME.name}
    assert choice_notes(means) == [f"retrieval: {SOME.name} is chosen by validation videos (40.0); test: 50.0"]
    text = markdown(means)
    assert text.index("## retrieval-validation") < text.index("## retrieval\n") and "recall@1 (test)" in text
    assert chosen_arms(summary(made_up())) == {}


def test_one_seed_has_no_error() -> None:
    means = summary(made_up().query("seed == 0")).set_index("arm")
    assert np.isnan(means.loc[HALF.name, "retrieval/recall@1 ±"])
    assert "±" not in markdown(summary(made_up().query("seed == 0")))


@pytest.mark.parametrize(
    ("layers", "regime"),
    [([{"epochs": 5}], "small"), ([PRESETS["ucf101"]], "paper"), ([{"epochs": 10_000}], "paper")],
)
def test_one_regime_is_chosen_for_all_arms(layers: list[dict[str, Any]], regime: str, labelled_cache: Path) -> None:
    shared = shared_settings([*layers, {"temperature": 0.2}], Cache(labelled_cache))
    expected = REGIMES[regime] | {"regime": regime, "temperature": 0.2}
    for trial in plan_trials([HALF, SOME], seeds=2):
        # Whatever a trial would choose by itself: it takes what the sweep chose.
        for videos in (6, 100_000):
            settings = with_regime([trial.settings(shared)], videos)
            assert {name: getattr(settings, name) for name in expected} == expected
    assert plan_run(example_settings(shared))[1] == 6
    assert {"regime", "negatives", "momentum", "schedule"} <= shared.keys()


def command(cache: Path, out: Path, *more: object) -> list[str]:
    arguments = [
        cache, "--alphas", "0.5", "--seeds", 1, "--out", out, "--backbone", "s3d", "--size", 32, "--clip-length", 8,
        "--epochs", EPOCHS, "--batch", 3, "--checkpoint-minutes", 0, "--cpus-per-trial", 1, *more,
    ]  # fmt: skip
    return [sys.executable, "-m", "s2vc.eval.cli.sweep", *map(str, arguments)]


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    """The command with a Ray of its own; Ctrl-C reaches it, also where the tests' own shell ignores it."""
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=LIMIT)
    return process.returncode, output


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_dry_run_gives_its_plan_as_a_document(labelled_cache: Path, tmp_path: Path) -> None:
    dry = [*command(labelled_cache, tmp_path / "sweep", "--dry-run"), "--json"]
    done = subprocess.run(dry, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["runs"] == [trial.name for trial in plan_trials([HALF], seeds=1)] and plan["runs_done"] == 0
    assert plan["variants_to_render"] == [HALF.name] and plan["render_bytes"] > 0
    rounds = len(plan["runs"]) / plan["runs_at_a_time"]
    assert plan["seconds"] > rounds * (plan["train_seconds_of_a_run"] + plan["test_seconds_of_a_run"]) > 0
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_sweep_is_killed_stopped_gone_on_with_and_leaves_no_variant(labelled_cache: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "sweep", labelled_cache
    folder, (moco, half) = SweepFolder(out), plan_trials([HALF], seeds=1)
    variant = cache / "motion" / HALF.name

    dry = subprocess.run(command(cache, out, "--dry-run"), capture_output=True, text=True, timeout=LIMIT)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "regime small (6 videos, 8 steps)" in dry.stdout
    assert "2 runs: 1 variant and MoCo" in dry.stdout and "for 1 variant to render" in dry.stdout
    assert not out.exists() and not variant.exists()

    killed = start(command(cache, out, "--evict"))
    wait_for(lambda: len(read_metrics(folder.run(moco) / "metrics.csv")) >= 2, killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()

    stopped = start(command(cache, out, "--evict"))
    wait_for(lambda: len(read_metrics(folder.run(half) / "metrics.csv")) >= 2, stopped)
    assert folder.numbers(moco)  # the variant's turn comes when MoCo is done
    assert variant.exists()
    os.kill(stopped.pid, signal.SIGINT)
    code, output = finish(stopped)
    assert code == 130 and "run the same command again to go on" in output, output
    before = (folder.run(moco) / "evaluated.json").stat().st_mtime_ns
    done = len(read_metrics(folder.run(half) / "metrics.csv"))
    assert 2 <= done < STEPS

    code, output = finish(start(command(cache, out, "--evict")))
    assert code == 0, output
    assert (folder.run(moco) / "evaluated.json").stat().st_mtime_ns == before
    results = [json.loads(path.read_text()) for path in folder.results.glob("retrieval-*.json")]
    for trial in (moco, half):
        assert [r.step for r in read_metrics(folder.run(trial) / "metrics.csv")] == list(range(1, STEPS + 1))
        (result,) = (r for r in results if r["checkpoint"] == str(folder.run(trial)))
        ranks = [rank for _, rank in result["ranks"]]
        assert len(ranks) == 4 and folder.numbers(trial)["retrieval"]["recall@1"] == ranks.count(0) / 4
    assert not variant.exists() and not (cache / "receipts" / "motion" / HALF.name).exists()
    table = pd.read_csv(folder.table)
    assert table["arm"].tolist() == ["moco", HALF.name] and 0 < table["kept"][1] < 1
    assert "Trial _trainable" not in output and "Last result" not in output, "Ray's words"
    assert "retrieval: alpha0.5-zero-video is chosen by validation videos" in output
    assert "alpha0.5-zero-video" in output and Image.open(folder.curve).size[0] > 300
    assert {p.name for p in out.iterdir()} == {
        ".lock", "sweep.yaml", "runs", "results", "validation", "kept.json", "sweep.csv", "sweep.md", "curve.png",
    }  # fmt: skip

    again = subprocess.run(command(cache, out), capture_output=True, text=True, timeout=LIMIT)
    assert again.returncode == 0 and "2 runs, all done before" in again.stdout
    assert not variant.exists()
    other = subprocess.run(
        command(cache, out, "--lr", 0.5, "--seeds", 2), capture_output=True, text=True, timeout=LIMIT
    )
    assert other.returncode == 2 and "lr is 0.001 there, 0.5 here" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say how much to suppress: --alphas 0.3,0.5,0.7, or --keeps 0.1,0.2"),
        (["--alphas", "0.5,x"], "is no list such as"),
        (["--alphas", "0.5", "--strategies", "dim"], "there is no strategy 'dim'"),
        (["--alphas", "0.5", "--eval", "saliency"], "there is no task 'saliency'"),
        (["--alphas", "0.5", "--eval", "finetune", "--select", "validation"], "it learns from all training rows"),
        (["--alphas", "0.5", "--split", "all"], "take --split all-splits"),
        (["--alphas", "0.5", "--split", "all-splits"], "two split columns or more"),
        (["--alphas", "0.5", "--eval-split", "split2"], "--eval-split belongs to --eval-cache"),
        (["--alphas", "0.5", "--videos", "v"], "--videos and --lists belong to --recipe"),
        (["--alphas", "-1"], "alpha is a number of 0 or more"),
        (["--alphas", "0.5", "--size", "8"], "size is 32 pixels or more"),
    ],
)
def test_mistakes_are_reported_before_anything_starts(
    labelled_cache: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    from s2vc.eval.cli.sweep import main

    done = CliRunner().invoke(main, [str(labelled_cache), "--out", str(tmp_path / "s"), *arguments])
    assert done.exit_code == 2 and message in done.output, done.output
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("split1", None, "has no split column: give one in the manifest"),
        ("split1", "train", "has no test videos with frames in column split1"),
        ("label", "", "6 train videos have no label"),
        ("label", "0", "are of one class: there is nothing to tell apart"),
    ],
)
def test_videos_that_cannot_be_asked_are_told_before_anything_starts(
    labelled_cache: Path, tmp_path: Path, column: str, values: str | None, message: str
) -> None:
    from s2vc.eval.cli.sweep import main

    cache = shutil.copytree(labelled_cache, tmp_path / "cache")
    index = pd.read_csv(cache / "index.csv", dtype=str, keep_default_na=False)
    index = index.drop(columns=column) if values is None else index.assign(**{column: values})
    index.to_csv(cache / "index.csv", index=False, lineterminator="\n")
    done = CliRunner().invoke(main, [str(cache), "--alphas", "0.5", "--out", str(tmp_path / "s")])
    assert done.exit_code == 2 and message in done.output, done.output
    assert done.output.count("\n") == 1 and not (tmp_path / "s").exists()


def test_two_sweeps_cannot_share_a_folder(labelled_cache: Path, tmp_path: Path) -> None:
    from s2vc.eval.cli.sweep import main

    with held(tmp_path):
        done = CliRunner().invoke(main, [str(labelled_cache), "--alphas", "0.5", "--out", str(tmp_path)])
    assert done.exit_code == 2 and f"{tmp_path} is in use by another job" in done.output, done.output
    assert [path.name for path in tmp_path.iterdir()] == [".lock"], "nothing is written into it"


def test_settings_that_a_sweep_decides_are_refused_in_a_file(labelled_cache: Path, tmp_path: Path) -> None:
    from s2vc.eval.cli.sweep import main

    config = tmp_path / "c.yaml"
    config.write_text("seed: 3\n")
    done = CliRunner().invoke(main, [str(labelled_cache), "--alphas", "0.5", "--config", str(config)])
    assert done.exit_code == 2 and "seed is what a sweep decides for each run, by --seeds" in done.output, done.output
    assert Trial(None, 3).settings({})["seed"] == 3

"""The loop: what it resolves, its schedule, its accuracy, its methods; and resuming, bit for bit, after real kills."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.files import sha256
from s2vc.pipeline.storage.step_log import StepLog, StepReader
from s2vc.training.backbones import build_backbone
from s2vc.training.backbones.checkpoints import read_backbone
from s2vc.training.batch_and_queue import resolve_settings
from s2vc.training.methods import Classifier, norm_group_count
from s2vc.training.run_folder import RunFolder, TrainingStep, read_metrics
from s2vc.training.schedule import learning_rate
from s2vc.training.settings import merge_settings, read_settings_file
from s2vc.training.step_figures import accuracy
from s2vc.training.trainer import parameter_groups

SMALL = [
    "--split", "all", "--batch", 2, "--size", 32, "--clip-length", 8, "--backbone", "s3d", "--loader-workers", 1,
]  # fmt: skip
"""Five videos of the shared cache, two steps an epoch, of the smaller backbone: seconds."""
LIMIT = 120.0


def test_batch_and_queue_fit_the_videos() -> None:
    settings = merge_settings({"alpha": [0.5]})
    assert resolve_settings(settings, 9537)[0].queue == 2048
    assert resolve_settings(settings, 9537)[1] == []
    few, notes = resolve_settings(settings, 1000)
    assert (few.batch, few.queue, len(notes)) == (128, 128, 1)  # 250 is a quarter, one batch of 128 fits
    fewer, notes = resolve_settings(settings, 90)
    assert (fewer.batch, fewer.queue, len(notes)) == (90, 22, 2)
    given, notes = resolve_settings(merge_settings({"alpha": [0.5], "queue": "999"}), 1000)
    assert given.queue == 999 and len(notes) == 1
    assert notes[0].startswith("a queue of 999 for 1000 training videos holds keys of the query's own video")
    assert resolve_settings(merge_settings({"alpha": [0.5], "queue": "250"}), 1000)[1] == []
    two = merge_settings({"alpha": [0.5], "workers": 2, "batch": 32})
    asked = {"alpha": [0.5], "negatives": "batch", "batch": 17}
    assert (
        resolve_settings(merge_settings(asked), 90)[0].queue is None
        and resolve_settings(merge_settings(asked), 90)[1] == []
    )
    assert "only 15 negatives" in resolve_settings(merge_settings({**asked, "batch": 16}), 90)[1][0]
    assert resolve_settings(two, 31)[0].batch == 30
    with pytest.raises(UserError, match="4 clips or more"):
        resolve_settings(two, 3)


@pytest.mark.parametrize(
    ("batch", "workers", "groups"),
    [(128, 0, 4), (32, 0, 2), (12, 0, 2), (4, 0, 2), (2, 0, 1), (128, 4, 1), (256, 4, 2)],
)
def test_no_batch_of_one_process_is_normalised_whole(batch: int, workers: int, groups: int) -> None:
    assert norm_group_count(merge_settings({"alpha": [0.5], "batch": batch, "workers": workers})) == groups


@pytest.mark.parametrize("norm_group", [2, 3, 5, 32])
def test_no_clip_is_normalised_alone(norm_group: int) -> None:
    for batch in range(2, 80):
        groups = norm_group_count(merge_settings({"alpha": [0.5], "batch": batch, "norm_group": norm_group}))
        assert min(len(part) for part in torch.empty(batch, 1).tensor_split(groups)) >= 2


def test_parts_of_a_step_are_whole_groups_or_refused_with_what_would_do() -> None:
    asked = {"alpha": [0.5], "batch": 64, "norm_group": 16}
    assert resolve_settings(merge_settings({**asked, "accumulate": 4}), 500)[0].accumulate == 4
    with pytest.raises(UserError, match=r"makes 4 of the 64 clips of a process: --norm-group 8 makes enough"):
        resolve_settings(merge_settings({**asked, "accumulate": 8}), 500)
    assert resolve_settings(merge_settings({**asked, "accumulate": 8, "norm_group": 8}), 500)[0].accumulate == 8
    with pytest.raises(UserError, match="accumulate is 8 at most"):
        resolve_settings(merge_settings({**asked, "accumulate": 9, "workers": 4, "norm_group": 2}), 500)


def test_the_rate_warms_up_and_falls_twice() -> None:
    settings = merge_settings({"alpha": [0.5], "epochs": 100})
    rates = [learning_rate(settings, steps=3, done=n) for n in range(300)]
    np.testing.assert_allclose(rates[:30], 1e-3 * np.arange(1, 31) / 30)
    np.testing.assert_allclose(rates[30:240], 1e-3)
    np.testing.assert_allclose(rates[240:270], 1e-4)
    np.testing.assert_allclose(rates[270:], 1e-5)
    short = merge_settings({"alpha": [0.5], "epochs": 12})
    assert short.warmup_epochs == 1


@pytest.mark.parametrize(("epochs", "steps", "share"), [(100, 3, 0.05), (7, 5, 0.2), (4, 1, 0.0)])
def test_the_cosine_warms_up_by_a_share_and_ends_at_nothing(epochs: int, steps: int, share: float) -> None:
    settings = merge_settings(
        {"alpha": [0.5], "epochs": epochs, "schedule": "cosine", "warmup_share": share, "lr": 0.5}
    )
    total, warmup = epochs * steps, round(share * epochs * steps)
    rates = [learning_rate(settings, steps, done) for done in range(total + 1)]
    np.testing.assert_allclose(rates[:warmup], 0.5 * np.arange(1, warmup + 1) / max(warmup, 1))
    angles = np.linspace(0, np.pi / 2, total - warmup + 1)
    np.testing.assert_allclose(rates[warmup:], 0.5 * np.cos(angles) ** 2, atol=1e-12)


def test_warm_up_by_share_and_by_epochs_hold_for_either_schedule() -> None:
    given = {"alpha": [0.5], "epochs": 100, "lr": 1.0}
    by_share = merge_settings({**given, "warmup_share": 0.05})
    assert [learning_rate(by_share, 2, n) for n in (0, 9, 10, 159, 160)] == pytest.approx([0.1, 1, 1, 1, 0.1])
    by_epochs = merge_settings({**given, "schedule": "cosine", "warmup_epochs": 10})
    assert [learning_rate(by_epochs, 2, n) for n in (0, 19, 20, 110)] == pytest.approx([0.05, 1, 1, 0.5])


def test_accuracy_counts_targets_among_the_highest() -> None:
    logits = torch.tensor([[3.0, 1, 2, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7], [9, 8, 7, 6, 5, 4, 3]])
    top1, top5 = accuracy(logits, torch.tensor([0, 2, 4]))
    assert (float(top1), float(top5)) == (pytest.approx(1 / 3), 1.0)
    assert float(accuracy(logits, torch.tensor([0, 1, 5]))[1]) == pytest.approx(1 / 3)


def test_the_backbone_may_learn_at_a_rate_of_its_own() -> None:
    model = Classifier(build_backbone("s3d"), 3)
    groups, shares = parameter_groups(model, 0.1)
    assert shares == [1.0, 0.1]
    head, backbone = ({id(p) for p in group["params"]} for group in groups)
    assert head == {id(p) for p in model.encoder_q[2].parameters()}
    assert backbone == {id(p) for p in model.encoder_q[0].parameters()}
    (whole,), shares = parameter_groups(model, 1.0)
    assert shares == [1.0] and {id(p) for p in whole["params"]} == head | backbone


def test_dropout_leaves_the_keys_of_a_checkpoint_as_they_are() -> None:
    torch.manual_seed(0)
    plain, dropped = Classifier(build_backbone("s3d"), 3), Classifier(build_backbone("s3d"), 3, dropout=0.9)
    dropped.load_state_dict(plain.state_dict())
    clips, labels = torch.rand(2, 3, 8, 32, 32), torch.tensor([2, 0])
    assert torch.equal(plain.eval()(clips, labels).logits, dropped.eval()(clips, labels).logits)
    assert torch.equal(plain(clips, labels).targets, labels)
    dropped.encoder_q[0].eval()
    dropped.encoder_q[1].train()
    draws = torch.stack([dropped(clips, labels).logits for _ in range(3)])
    assert (draws.std(dim=0) > 0).all()


def losses(run: Path) -> list[float]:
    return [r.loss for r in read_metrics(RunFolder(run).metrics)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoint.pt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "method",
    [
        ["--alpha", 0.5],
        ["--method", "moco", "--pair", "same", "--symmetric"],
        ["--method", "s2vc-online", "--alpha", 0.5, "--key-augment", "full"],
        ["--method", "supervised", "--jitter", "per-frame", "--activation-checkpointing"],
    ],
    ids=["s2vc", "moco-symmetric", "s2vc-online", "supervised"],
)
def test_every_method_trains(
    method: list[object], cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]
) -> None:
    result = train_cli(cache_path, *SMALL, *method, "--epochs", 1, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "2 of 2 steps done" in result.output
    precision = merge_settings(read_settings_file(tmp_path / "run" / "settings.yaml")).precision
    assert (
        precision in ("float32", "bfloat16")
        and f"training on cpu in {precision}, 1 process reading clips" in result.output
    )
    assert np.isfinite(losses(tmp_path / "run")).all()
    files = {p.name for p in (tmp_path / "run").iterdir()}
    assert files == {"checkpoint.pt", "metrics.csv", "curves.png", "settings.yaml", "tensorboard", ".lock"}
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    # A run's checkpoint is read like a published one.
    assert read_backbone(tmp_path / "run" / "checkpoint.pt", "s3d")


def command(cache: Path, out: Path, *more: object) -> list[str]:
    arguments = [cache, *SMALL, "--alpha", 0.5, "--epochs", 2, "--checkpoint-minutes", 0, "--out", out, *more]
    return [sys.executable, "-m", "s2vc.training.cli", *map(str, arguments)]


def start(command: list[str], file_limit: int | None = None) -> "subprocess.Popen[str]":
    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if file_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=prepare)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=LIMIT)
    return process.returncode, output


def wait_for_steps(run: Path, steps: int, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + LIMIT
    while not ((run / "checkpoint.pt").exists() and len(read_metrics(run / "metrics.csv")) >= steps):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)


def reference_run(run: Path, *arguments: object) -> Path:
    """A run of two epochs, four steps, that nothing stops."""
    code, output = finish(start(command(*arguments)))
    assert code == 0, output
    assert len(losses(run)) == 4
    return run


@pytest.fixture(scope="module")
def reference(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the small regime, which is chosen for so few videos: negatives from the batch."""
    run = tmp_path_factory.mktemp("reference") / "run"
    return reference_run(run, cache_path, run)


@pytest.fixture(scope="module")
def reference_with_queue(cache_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("queue") / "run"
    return reference_run(run, cache_path, run, "--regime", "paper")


@pytest.mark.parametrize(
    ("regime", "sign", "steps", "code"),
    [
        ("small", "KILL", 2, -9),
        pytest.param("small", "INT", 1, 130, marks=pytest.mark.slow),
        pytest.param("paper", "KILL", 2, -9, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    regime: str,
    sign: str,
    steps: int,
    code: int,
    cache_path: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    reference = request.getfixturevalue("reference" if regime == "small" else "reference_with_queue")
    run, chosen = tmp_path / "run", ["--regime", regime]
    process = start(command(cache_path, run, *chosen))
    wait_for_steps(run, steps, process)
    os.kill(process.pid, getattr(signal, f"SIG{sign}"))
    ended, output = finish(process)
    assert ended == code
    assert sign == "KILL" or "run the same command again" in output
    assert len(losses(run)) < 4
    ended, output = finish(start(command(cache_path, run, *chosen)))
    assert ended == 0, output
    assert losses(run) == losses(reference)
    found, expected = weights(run), weights(reference)
    assert ("queue" in found) == (regime == "paper")
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_loader_workers_change_nothing(reference: Path, cache_path: Path, tmp_path: Path) -> None:
    code, output = finish(
        start([*command(cache_path, tmp_path / "run"), "--loader-workers", "0", "--checkpoint-minutes", "9"])
    )
    assert code == 0, output
    assert losses(tmp_path / "run") == losses(reference)


def test_ended_with_all_its_processes_it_writes_its_checkpoint(cache_path: Path, tmp_path: Path) -> None:
    """`timeout`, Slurm and others send SIGTERM to the readers, too."""
    run = tmp_path / "run"
    long = command(cache_path, run, "--loader-workers", 2, "--checkpoint-minutes", 60)
    long[long.index("--epochs") + 1] = "500"
    process = subprocess.Popen(
        long, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until = time.monotonic() + LIMIT
    while not (run / "metrics.csv").exists() or not read_metrics(run / "metrics.csv"):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    code, output = finish(process)
    assert code == 130, output
    assert "The checkpoint is written" in output and "Traceback" not in output
    assert (run / "checkpoint.pt").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # No reader is left.


def test_a_finished_run_is_reported_as_done(
    reference: Path, cache_path: Path, train_cli: Callable[..., Result]
) -> None:
    before, done = weights(reference), losses(reference)
    code, output = finish(start(command(cache_path, reference)))
    assert code == 0 and "4 of 4 steps done before" in output
    assert losses(reference) == done
    assert all(torch.equal(a, b) for a, b in zip(weights(reference).values(), before.values(), strict=True))


def test_steps_that_were_measured_and_lost_are_not_reported_as_done_before(
    reference: Path, cache_path: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(reference, tmp_path / "run"))
    (run / "checkpoint.pt").unlink()
    code, output = finish(start(command(cache_path, run)))
    assert code == 0 and "4 of 4 steps done in" in output, output


def test_other_settings_are_refused_by_name(
    reference: Path, cache_path: Path, train_cli: Callable[..., Result]
) -> None:
    result = train_cli(cache_path, *SMALL, "--alpha", 0.5, "--epochs", 2, "--lr", 0.01, "--out", reference)
    assert result.exit_code == 2
    assert "lr is 0.001 there, 0.01 here" in result.output


def test_a_full_disk_at_a_checkpoint_is_reported_and_the_last_one_stays(
    cache_path: Path, reference: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(command(cache_path, run))
    wait_for_steps(run, 1, process)
    os.kill(process.pid, signal.SIGTERM)
    finish(process)
    good = sha256(run / "checkpoint.pt")
    # What a full disk does to a file: it cannot grow beyond a limit.
    code, output = finish(start(command(cache_path, run), file_limit=40 << 20))
    assert code == 1, output
    assert "cannot be written" in output and "the one before it is whole" in output
    assert "Traceback" not in output
    assert sha256(run / "checkpoint.pt") == good
    assert [p.name for p in run.iterdir() if "attempt" in p.name] == []
    code, output = finish(start(command(cache_path, run)))
    assert code == 0, output
    assert losses(run) == losses(reference)


def test_a_checkpoint_of_another_run_is_refused(reference: Path, cache_path: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    torch.save({"state_dict": {}}, run / "checkpoint.pt")
    code, output = finish(start(command(cache_path, run)))
    assert code == 2
    assert "is no checkpoint of this run" in output and "Traceback" not in output


def test_metrics_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = [TrainingStep(n, 1, n / 3, 0.1, 0.5, 0.2, 1e-3, 2.5, 0.0) for n in range(1, 6)]
    reader = StepReader(path, TrainingStep)
    assert reader.new() == []
    metrics = StepLog(path, TrainingStep, 0)
    for row in rows[:2]:
        metrics.add(row)
    assert reader.new() == rows[:2]
    with path.open("a") as file:
        file.write("3,1,0.5")  # killed in the middle of a line
    assert reader.new() == []
    assert read_metrics(path) == rows[:2]
    again = StepLog(path, TrainingStep, 1)  # goes on from a checkpoint at step 1
    again.add(rows[1])
    assert reader.new() == rows[:2]
    assert read_metrics(path) == rows[:2]

"""The report: what is in the folders is on the page, beside the paper's rows and why they differ; nothing gets out."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result as CliResult
from PIL import Image

from s2vc.eval import paper
from s2vc.eval.paper import TABLES, PaperRow, PaperTable
from s2vc.eval.report import pictures
from s2vc.eval.report.comparison import OTHER_WORK, dataset_of, differences
from s2vc.eval.report.page import write_report
from s2vc.eval.report.result_files import Result, read_results
from s2vc.eval.report.tables import number_cell
from s2vc.eval.results import describe_result, save_result
from s2vc.pipeline.cache import Cache
from s2vc.training.backbones import BACKBONES
from s2vc.training.prepare import with_regime
from s2vc.training.regimes import REGIMES
from s2vc.training.settings import TrainingSettings, merge_settings, settings_yaml
from tests.eval.conftest import Evaluate

HOSTILE = "<script>document.title='owned'</script>"


class Page(HTMLParser):
    """What a page holds: its text, its tags, and every address in it."""

    def __init__(self, path: Path):
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.text, self.tags, self.addresses, self.titles = "", [], [], []
        self.feed(self.html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "action", "poster")]
        self.titles += [v or "" for k, v in attrs if k == "title"]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


@pytest.fixture(scope="module")
def trained(cache_path: Path, train_cli: Callable[..., CliResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of six steps. Not to be written into."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    small = ["--split", "all", "--batch", 2, "--size", 32, "--clip-length", 8, "--backbone", "s3d", "--epochs", 3]
    small += ["--alpha", 0.5, "--loader-workers", 0, "--regime", "paper"]
    made = train_cli(cache_path, *small, "--out", folder)
    assert made.exit_code == 0, made.output
    return folder


@pytest.fixture(scope="session")
def train_cli() -> Callable[..., CliResult]:
    from click.testing import CliRunner

    from s2vc.training.cli import main

    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def saved(folder: Path, cache: Path, checkpoint: str = "random", task: str = "retrieval", **more: Any) -> Path:
    """A result of the task as an evaluation writes it; more: what it says of itself, and floats, its numbers."""
    described = describe_result(task, Cache(cache), "split1", checkpoint=checkpoint, backbone="s3d", size=32, frames=8)
    numbers = {k: v for k, v in more.items() if isinstance(v, float)} or {"recall@1": 0.4321, "recall@5": 0.75}
    described |= {k: v for k, v in more.items() if not isinstance(v, float | dict | list)}
    return save_result(folder, described, numbers, {k: v for k, v in more.items() if isinstance(v, dict | list)})


def written_run(folder: Path, done: int = 0, **chosen: Any) -> Path:
    """A run's folder with the paper's settings where they are not chosen otherwise; done: epochs, of one step each."""
    defaults = {"head": "linear", "key_augment": "full", "split": "split1", "queue": "2048", "cache": "/data/ucf101"}
    folder.mkdir(parents=True)
    settings = merge_settings(defaults, chosen)
    (folder / "settings.yaml").write_text(settings_yaml(settings))
    if done:
        rows = [f"{n},{n},1.0,0.5,0.5,0.5,0.001,9.0,0.0" for n in range(1, done + 1)]
        (folder / "metrics.csv").write_text("\n".join(["step,epoch,loss", *rows]) + "\n")
    return folder


def picture(path: Path, seed: int = 0, side: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def sweep(folder: Path, cache: Path) -> Path:
    """A sweep's folder: two arms, two seeds."""
    picture(folder / "curve.png")
    arms = ("moco", "", 0.25, 0.27), ("alpha0.5-zero-video", 0.227, 0.31, 0.35)
    rows = [f"{arm},{seed},{kept},{values[seed]}" for arm, kept, *values in arms for seed in (0, 1)]
    (folder / "sweep.csv").write_text("\n".join(["arm,seed,kept,retrieval/recall@1", *rows]) + "\n")
    (folder / "sweep.md").write_text("| arm |\n")
    written_run(folder / "runs" / "moco-seed0", method="moco")
    saved(folder / "results", cache, "runs/moco-seed0")
    return folder


def test_a_run_shows_settings_progress_metrics_and_curves(trained: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    result = evaluate("report", trained, "--out", tmp_path / "r.html")
    assert result.exit_code == 0, result.output
    assert "1 run, 0 results, 0 sweeps, 1 picture" in result.output
    page = Page(tmp_path / "r.html")
    assert "step 6 of 6, epoch 3 of 3, finished" in page.text
    differing, same = page.text.split("settings as by default")
    for message in ("backbone s3d r3d18", "clip_length 8 32", "size 32 128", "epochs 3 500", "alpha 0.5 –"):
        assert message in differing
    assert "temperature 0.07" in same and "temperature" not in differing
    drawn = base64.b64encode((trained / "curves.png").read_bytes()).decode()
    assert f"data:image/png;base64,{drawn}" in page.html
    last = (trained / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert f"loss {float(last[2]):.3f} nats" in page.text


def test_curves_are_drawn_anew_where_there_are_none(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("curves.png", "checkpoint.pt"))
    report = write_report([run], tmp_path / "r.html")
    assert report.pictures.count == 1 and "Curves of run" in Page(tmp_path / "r.html").text
    assert not (run / "curves.png").exists()


def test_a_run_of_the_small_regime_is_shown_against_the_papers(tmp_path: Path) -> None:
    run = written_run(tmp_path / "run", done=3, alpha=[0.5], regime="small", queue="auto", **REGIMES["small"])
    report = write_report([run], tmp_path / "r.html")
    differing, _ = Page(tmp_path / "r.html").text.split("settings as by default")
    for message in ("regime small paper", "negatives batch queue", "momentum 0.99 0.999", "schedule cosine step"):
        assert message in differing
    assert report.pictures.count == 1  # curves, with chance within a batch


def test_a_run_before_its_first_step_is_reported(tmp_path: Path) -> None:
    run = written_run(tmp_path / "run", method="supervised")
    write_report([run], tmp_path / "r.html")
    assert "no step done yet" in Page(tmp_path / "r.html").text


def test_results_of_a_real_evaluation_are_on_the_page(evaluate: Evaluate, labelled_cache: Path, tmp_path: Path) -> None:
    small = ["--backbone", "s3d", "--size", 32, "--frames", 8, "--out", tmp_path / "results"]
    assert evaluate("retrieval", labelled_cache, "random", *small).exit_code == 0
    made = evaluate("report", tmp_path / "results", "--out", tmp_path / "r.html")
    assert made.exit_code == 0, made.output
    page = Page(tmp_path / "r.html")
    numbers = json.loads(next((tmp_path / "results").glob("*.json")).read_text())
    assert repr(numbers["recall@1"]) in page.titles and f"{100 * numbers['recall@5']:.1f}" in page.text
    assert f"R1 random s3d random – – – – split1 64x80 8 32² 0 {100 * numbers['recall@1']:.1f}" in page.text
    assert "gallery_videos 6" in page.text
    assert "Table 2: video retrieval, UCF101" in page.text and "Table 1: fine-tuning" not in page.text
    assert "stored frames 64x80 here, 256x340 in the paper" in page.text
    assert "dataset not recorded" in page.text


def test_a_result_shows_its_figure_and_classes(labelled_cache: Path, tmp_path: Path) -> None:
    path = saved(tmp_path, labelled_cache, task="linear", top1=0.5, per_class={"run": 0.25, "still": None})
    drawn = picture(path.with_suffix(".png"))
    write_report([tmp_path], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert base64.b64encode(drawn.read_bytes()).decode() in page.html
    assert "run 25.0 still –" in page.text
    assert page.tags.count("img") == 1  # not once more among the previews


def test_a_sweep_shows_means_over_seeds_curve_runs_and_results(
    labelled_cache: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    sweep(tmp_path / "sweep", labelled_cache)
    picture(tmp_path / "sweep" / "preview.jpg")
    result = evaluate("report", tmp_path / "sweep", "--out", tmp_path / "r.html")
    assert "1 run, 1 result, 1 sweep, 2 pictures" in result.output, result.output
    page = Page(tmp_path / "r.html")
    assert "moco – 2 26.0 ± 1.0 –" in page.text
    assert "alpha0.5-zero-video 22.7 2 33.0 ± 2.0 +7.0 ± 1.0" in page.text  # paired by seed: 6 and 8
    assert "Curve of sweep" in page.text and "sweep/preview.jpg" in page.text
    assert "moco-seed0" in page.text and "43.2" in page.text


def test_nothing_on_the_page_points_outside(labelled_cache: Path, trained: Path, tmp_path: Path) -> None:
    write_report([sweep(tmp_path / "sweep", labelled_cache), trained], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert page.addresses and all(a.startswith(("#", "data:")) for a in page.addresses)
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", page.html)


def hostile(folder: Path, cache: Path) -> Path:
    """Names that want out of their place, in every field that is text."""
    path = saved(folder, cache, f'"><img src=x onerror="{HOSTILE}">', method=HOSTILE, top1=0.5, task="linear")
    content = json.loads(path.read_text()) | {HOSTILE: "x\x1b[31m\ud800", "per_class": {HOSTILE: 0.5}}
    path.write_text(json.dumps(content))
    run = written_run(folder / f"{HOSTILE.replace('/', '∕')}", method="moco", cache=f"/{HOSTILE}")
    (run / "curves.png").write_text(HOSTILE)
    picture(folder / "<b>&amp;.png")
    return folder


def test_hostile_names_are_escaped(labelled_cache: Path, tmp_path: Path) -> None:
    report = write_report([hostile(tmp_path / "in", labelled_cache)], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert not {"script", "b&amp;"} & set(page.tags) and page.tags.count("img") == 1
    assert HOSTILE in page.text and "<b>&amp;.png" in page.text
    assert "\x1b" not in page.html and r"\x1b[31m\ud800" in page.text
    assert len(report.pictures.left_out) == 1 and "does not read as a picture" in page.text


def test_pictures_above_the_limit_are_left_out_and_said_to_be(
    tmp_path: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures.Pictures.__init__, "__defaults__", (10_000,))
    for number in range(3):
        assert picture(tmp_path / "in" / f"{number}.png", number).stat().st_size > 4_000
    written_run(tmp_path / "in" / "run", method="moco")
    result = evaluate("report", tmp_path / "in", "--out", tmp_path / "r.html")
    assert "2 pictures" in result.output and "left out: " in result.output
    page = Page(tmp_path / "r.html")
    assert page.tags.count("img") == 2 and "2.png (" in page.text and "more than 10.0 kB" in page.text


def test_running_again_replaces_the_page(tmp_path: Path) -> None:
    out = tmp_path / "out" / "r.html"
    write_report([written_run(tmp_path / "one", method="moco")], out)
    write_report([written_run(tmp_path / "two", method="moco")], out)
    page = Page(out)
    assert "two" in page.text and str(tmp_path / "one") not in page.text
    assert [p.name for p in out.parent.iterdir()] == ["r.html"]


def damaged_table(folder: Path) -> None:
    (folder / "results.csv").write_text('result,task\n"open,1\n')


def table_of_something_else(folder: Path) -> None:
    (folder / "results.csv").write_text("a,b\n1,2\n")


def row_without_json(folder: Path) -> None:
    (folder / "results.csv").write_text("result,task\n../escape,linear\n")


def damaged_json(folder: Path) -> None:
    (folder / "results.csv").write_text("result,task\none,linear\n")
    (folder / "one.json").write_text('{"result": "one", ')


def json_of_something_else(folder: Path) -> None:
    (folder / "results.csv").write_text("result,task\none,linear\n")
    (folder / "one.json").write_text('["one"]')


def damaged_settings(folder: Path) -> None:
    (folder / "settings.yaml").write_text("a: [1\nb: }")


def unknown_setting(folder: Path) -> None:
    (folder / "settings.yaml").write_text("method: moco\nmagic: 3\n")


def damaged_metrics(folder: Path) -> None:
    (written_run(folder / "run", method="moco") / "metrics.csv").write_text("step,epoch\n1,x,3\n")


def damaged_sweep(folder: Path) -> None:
    (folder / "sweep.csv").write_text("arm,seed,kept,retrieval/recall@1\nmoco,0,,high\n")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "has nothing to report"),
        (lambda folder: (folder / "a.png").write_bytes(b""), "pictures, but no settings.yaml of a run, no results.csv"),
        (lambda folder: folder.rmdir(), "there is no folder"),
        (damaged_table, "results.csv is damaged"),
        (table_of_something_else, "results.csv is damaged: it has no column 'result'"),
        (row_without_json, "there is no ../escape.json"),
        (damaged_json, "one.json is damaged: it is no JSON"),
        (json_of_something_else, "one.json is damaged: it is no result named one"),
        (damaged_settings, "settings.yaml is no YAML"),
        (unknown_setting, "there is no setting 'magic'"),
        (damaged_metrics, "metrics.csv is damaged"),
        (damaged_sweep, "sweep.csv is damaged"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    prepare: Callable[[Path], None], message: str, evaluate: Evaluate, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    prepare(folder)
    result = evaluate("report", folder, "--out", tmp_path / "r.html")
    assert result.exit_code == 2, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("s2vc-eval: ") and message in line
    assert not (tmp_path / "r.html").exists()


def test_a_page_that_cannot_be_written_is_reported(evaluate: Evaluate, tmp_path: Path) -> None:
    run = written_run(tmp_path / "run", method="moco")
    for out, message in ((tmp_path, "is a folder"), (run / "settings.yaml" / "r.html", "cannot be written")):
        result = evaluate("report", run, "--out", out)
        assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1


# --- beside the paper


def row_of(table: str, dataset: str, method: str, net: str, task: str = "") -> tuple[PaperTable, PaperRow]:
    (found,) = (t for t in TABLES if t.name == table and t.dataset == dataset and task in t.task)
    return found, next(r for r in found.rows if r.method == method and r.net == net)


@pytest.fixture
def as_the_paper(tmp_path: Path) -> dict[str, Any]:
    """A result that agrees with Table 2, R3D-18, in all that is recorded."""
    run = written_run(tmp_path / "run", 500, method="s2vc", variant=["alpha0.5-zero-clip16"])
    made = {"method": "s2vc", "head": "linear", "key_augment": "full", "epochs": 500, "seed": 0}
    return {
        "task": "retrieval", "cache": "/data/ucf101-256x340", "split": "split1", "stored": "256x340",
        "checkpoint": str(run), "backbone": "r3d18", "size": 112, "frames": 16, "frame_step": 1, "eval_seed": 0,
        **made, "per": "clip", "gallery": "/data/ucf101-256x340", "gallery_videos": 9537, "queries": 70000,
        "test_videos": 3783, "trained_videos": 9537,
    }  # fmt: skip


@pytest.fixture
def linear_as_the_paper(as_the_paper: dict[str, Any]) -> dict[str, Any]:
    """A result that agrees with Table 1's linear probe of R3D-18: evaluated larger and longer than it was trained."""
    left_out = ("per", "gallery", "gallery_videos", "queries")
    return {k: v for k, v in as_the_paper.items() if k not in left_out} | {
        "task": "linear", "size": 224, "frames": 32, "epochs_linear": 100, "train_videos": 9537, "test_videos": 3783,
        "train_views": "drawn anew at every step", "batch": 128, "decays": "0.6 0.8", "augment": "light",
        "select": "last",
    }  # fmt: skip


def read_one(folder: Path, described: dict[str, Any], value: float = 0.4) -> Result:
    save_result(folder, described, {"recall@1": value})
    return read_results(folder, 1)[-1]


def test_a_row_is_comparable_where_all_that_is_recorded_agrees(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    assert differences(read_one(tmp_path / "r", as_the_paper), *row_of("Table 2", "ucf101", "Ours", "r3d18")) == []
    write_report([tmp_path / "r"], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert page.text.count("comparable with R1") == 1
    assert "Ours r3d18 s2vc alpha0.5-zero-clip16 500 linear full split1 256x340 16 112² – 39.9 comparable" in page.text
    best = re.findall(r'<td class="number best"[^>]*>([\d.]+)<', page.html)
    assert best == ["40.0"]  # ours, by 0.1; rows that are not comparable have higher ones, and are not bold


def test_the_paper_s_number_is_bold_where_it_is_the_higher(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    read_one(tmp_path / "r", as_the_paper, 0.3986)
    write_report([tmp_path / "r"], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text()
    assert re.findall(r'<td class="number best"[^>]*>([\d.]+)<', html) == ["39.9", "39.9"]  # equal as shown: both
    read_one(tmp_path / "r", as_the_paper, 0.1)
    write_report([tmp_path / "r"], tmp_path / "r.html")
    assert re.findall(r'<td class="number best"[^>]*>([\d.]+)<', (tmp_path / "r.html").read_text()) == ["39.9"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 32}, "size 32 here, 112 in the paper"),
        ({"frames": 8}, "frames 8 here, 16 in the paper"),
        ({"stored": "128x171"}, "stored frames 128x171 here, 256x340 in the paper"),
        ({"split": "split2"}, "split split2 here, split1 in the paper"),
        ({"per": "video"}, "a query is a video here, clip in the paper"),
        ({"frame_order": "still"}, "order of frames still here, natural in the paper"),
        (
            {"cache": "/data/clips", "test_videos": 3000},
            "dataset not recorded; test videos 3,000 here, 3,783 in the paper",
        ),
        ({"test_videos": 300}, "test videos 300 here, 3,783 in the paper"),
        ({"cache": "/data/hmdb51"}, "dataset HMDB51 here, UCF101 in the paper"),
        ({"gallery": "/data/hmdb51"}, "gallery HMDB51 here, UCF101 in the paper"),
        ({"gallery_videos": 12}, "videos in the gallery 12 here, 9,537 in the paper"),
        ({"label": "scene"}, "column of classes scene here, label in the paper"),
        ({"test_split": "val"}, "tested part val here, test in the paper"),
        ({"mean": "0.5 0.5 0.5"}, "mean of channels 0.5 0.5 0.5 here, 0.485 0.456 0.406 in the paper"),
    ],
)
def test_what_differs_in_the_evaluation_is_said(
    change: dict[str, Any], message: str, as_the_paper: dict[str, Any], tmp_path: Path
) -> None:
    result = read_one(tmp_path / "r", as_the_paper | change)
    assert "; ".join(differences(result, *row_of("Table 2", "ucf101", "Ours", "r3d18"))) == message


@pytest.mark.parametrize("stored", ["256x340 crop", "256x340 short-side", "240x320", "240x320 crop"])
def test_frames_that_keep_their_shape_are_the_papers_too(
    stored: str, as_the_paper: dict[str, Any], tmp_path: Path
) -> None:
    result = read_one(tmp_path / "r", as_the_paper | {"stored": stored})
    assert differences(result, *row_of("Table 2", "ucf101", "Ours", "r3d18")) == []


def test_a_dataset_is_counted_where_the_folder_has_another_name(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    run = written_run(tmp_path / "other", 500, method="s2vc", variant=["alpha0.5-zero-clip16"], cache="/data/mine")
    named = {"cache": "/data/clips", "gallery": "/data/clips", "checkpoint": str(run)}
    row = row_of("Table 2", "ucf101", "Ours", "r3d18")
    assert differences(read_one(tmp_path / "r", as_the_paper | named), *row) == []
    # A folder with the right name may hold a few of the videos.
    few = read_one(tmp_path / "few", as_the_paper | {"trained_videos": 320})
    assert differences(few, *row) == ["videos of pre-training 320 here, 9,537 in the paper"]
    unknown = {k: v for k, v in as_the_paper.items() if k != "trained_videos"}
    assert differences(read_one(tmp_path / "u", unknown), *row) == ["videos of pre-training not recorded"]


def test_kinetics_may_lack_what_has_vanished(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    row = row_of("Table 1", "ucf101", "Ours, K200", "s3d", "linear")
    for videos, enough in ((80_000, True), (74_000, True), (60_000, False)):
        found = differences(read_one(tmp_path / str(videos), as_the_paper | {"trained_videos": videos}), *row)
        assert any("videos of pre-training" in reason for reason in found) != enough


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"size": 112, "frames": 16}, "size 112 here, 224 in the paper; frames 16 here, 32 in the paper"),
        ({"train_views": 4}, "training views 4 here, drawn anew at every step in the paper"),
        ({"train_videos": 7600}, "training videos 7,600 here, 9,537 in the paper"),
        ({"augment": "full"}, "augmentation full here, light in the paper"),
        ({"select": "validation"}, "epoch that is tested validation here, last in the paper"),
        ({"decays": "0.4 0.533"}, "decays after 0.4 0.533 here, 0.6 0.8 in the paper"),
        ({"batch": 32}, "batch 32 here, 128 in the paper"),
    ],
)
def test_a_linear_probe_can_be_comparable(
    change: dict[str, Any], message: str, linear_as_the_paper: dict[str, Any], tmp_path: Path
) -> None:
    result = read_one(tmp_path / "r", linear_as_the_paper | change)
    row = row_of("Table 1", "ucf101", "Ours, UCF101", "r3d18", "linear")
    assert "; ".join(differences(result, *row)) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pair": "same"}, "clips of a pair same here, independent in the paper"),
        ({"head": "mlp"}, "head mlp here, linear in the paper"),
        ({"key_augment": "crop"}, "key augmentation crop here, full in the paper"),
        ({"epochs": 10}, "pre-training epochs 10 here, 500 in the paper"),
        ({"batch": 64}, "pre-training batch 64 here, 128 in the paper"),
        ({"size": 64}, "pre-training size 64 here, 112 in the paper"),
        ({"cache": "/data/hmdb51"}, "pre-training data HMDB51 here, UCF101 in the paper"),
        ({"lr": 0.01}, "learning rate 0.01 here, 0.001 in the paper"),
        ({"variant": ["alpha0.5-zero-video"]}, "key clips alpha0.5-zero-video here, alpha0.5-zero-clip16 in the paper"),
        ({"split": "all"}, "pre-training split all here, split1 in the paper"),
        ({"momentum": 0.99}, "momentum of the key encoder 0.99 here, 0.999 in the paper"),
        ({"schedule": "cosine"}, "schedule of pre-training cosine here, step in the paper"),
        ({"decays": [0.5]}, "pre-training decays after 0.5 here, 0.8 0.9 in the paper"),
        ({"weight_decay": 1e-4}, "weight decay 0.0001 here, 1e-05 in the paper"),
        ({"key_scale": [0.5, 1]}, "crops of the key 0.5 1 here, 0.2 1 in the paper"),
        ({"temperature": 0.1}, "temperature 0.1 here, 0.07 in the paper"),
        ({"norm_group": 64}, "clips normalised together 64 here, 32 in the paper"),
        ({"warmup_epochs": 2}, "warmup epochs 2 here, 10 in the paper"),
        ({"jitter": "per-frame"}, "jitter per-frame here, per-clip in the paper"),
        (
            {"std": [0.5, 0.5, 0.5]},
            "deviation of channels in pre-training 0.5 0.5 0.5 here, 0.229 0.224 0.225 in the paper",
        ),
    ],
)
def test_what_differs_in_the_pre_training_is_said(
    change: dict[str, Any], message: str, as_the_paper: dict[str, Any], tmp_path: Path
) -> None:
    own = {"method": "s2vc", "variant": ["alpha0.5-zero-clip16"]} | change
    run = written_run(tmp_path / "other", own.get("epochs", 500), **own)
    said = {k: v for k, v in change.items() if k in ("head", "key_augment", "epochs")}
    result = read_one(tmp_path / "r", as_the_paper | said | {"checkpoint": str(run)})
    assert differences(result, *row_of("Table 2", "ucf101", "Ours", "r3d18")) == [message]


def test_a_run_that_is_not_done_has_the_epochs_that_are(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    own = {"method": "s2vc", "variant": ["alpha0.5-zero-clip16"]}
    for done, message in ((33, "epochs 33 here, 500 in the paper"), (0, "epochs not recorded")):
        run = written_run(tmp_path / str(done), done, **own)
        result = read_one(tmp_path / "r", as_the_paper | {"checkpoint": str(run)})
        assert differences(result, *row_of("Table 2", "ucf101", "Ours", "r3d18")) == [f"pre-training {message}"]


def test_the_flow_in_the_loop_is_the_paper_s_method(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    run = written_run(tmp_path / "online", 500, method="s2vc-online", alpha=[0.5])
    result = read_one(tmp_path / "r", as_the_paper | {"checkpoint": str(run), "method": "s2vc-online"})
    assert differences(result, *row_of("Table 2", "ucf101", "Ours", "r3d18")) == []


def test_a_run_that_is_not_at_hand_or_not_the_one_is_a_difference(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    for number, change in enumerate(({"checkpoint": "published.pt"}, {"seed": 7})):
        result = read_one(tmp_path / str(number), as_the_paper | change)
        found = differences(result, *row_of("Table 2", "ucf101", "Ours", "r3d18"))
        assert len(found) == 1 and "settings of its pre-training not found" in found[0]


def test_settings_of_a_run_are_those_of_the_weights_that_were_evaluated(
    trained: Path, labelled_cache: Path, tmp_path: Path
) -> None:
    """A result says which weights it is of. Other weights in the run's folder were made by other settings, or steps."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    state = {k: v for k, v in content["state_dict"].items() if k.startswith("encoder_q.0.")}
    digest = hashlib.sha256()
    for key, value in state.items():
        shape = f"{value.dtype} {tuple(value.shape)}"
        digest.update(f"{key.removeprefix('encoder_q.0.')} {shape}\n".encode() + value.numpy().tobytes())
    made = {"method": "s2vc", "head": "linear", "key_augment": "full", "epochs": 3, "seed": 0}
    saved(tmp_path / "r", labelled_cache, str(run), weights=digest.hexdigest()[:16], **made)
    (found,) = read_results(tmp_path / "r", 1)
    assert found.training_settings is not None and found.epochs_done == 3
    first = next(iter(state))
    content["state_dict"][first] = content["state_dict"][first] + 1
    torch.save(content, run / "checkpoint.pt")
    (found,) = read_results(tmp_path / "r", 1)
    assert found.training_settings is None
    (run / "checkpoint.pt").unlink()
    assert read_results(tmp_path / "r", 1)[0].training_settings is None


@pytest.fixture
def dpc_as_the_paper(tmp_path: Path) -> dict[str, Any]:
    """A result that agrees with the supplement's Table 1, DPC+S²VC, in all that is recorded or assumed."""
    chosen = {"method": "dpc-s2vc", "variant": ["alpha0.5-zero-clip40-step3"], "split": "split1"}
    run = tmp_path / "dpc"
    run.mkdir()
    settings = merge_settings({"cache": "/data/ucf101"}, chosen)
    (run / "settings.yaml").write_text(settings_yaml(settings))
    rows = [f"{n},{n},1.0,0.5,0.5,0.5,0.001,9.0,0.0" for n in range(1, 301)]
    (run / "metrics.csv").write_text("\n".join(["step,epoch,loss", *rows]) + "\n")
    return {
        "task": "retrieval", "cache": "/data/ucf101-256x340", "split": "split1", "stored": "256x340",
        "checkpoint": str(run), "backbone": "r2d3d18", "size": 128, "frames": 40, "frame_step": 3, "eval_seed": 0,
        "method": "dpc-s2vc", "variant": "alpha0.5-zero-clip40-step3", "epochs": 300, "seed": 0, "per": "clip",
        "gallery": "/data/ucf101-256x340", "gallery_videos": 9537, "queries": 70000,
        "test_videos": 3783, "trained_videos": 9537,
    }  # fmt: skip


def test_dpc_stands_beside_the_supplement_s_rows(dpc_as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    table, row = row_of("Supplement, Table 1", "ucf101", "DPC+S²VC", "r2d3d18", "retrieval")
    result = read_one(tmp_path / "r", dpc_as_the_paper, 0.1)
    assert differences(result, table, row) == []
    without = next(r for r in table.rows if r.method == "DPC")
    assert "method dpc-s2vc here, dpc in the paper" in differences(result, table, without)
    write_report([tmp_path / "r"], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "Supplement, Table 1: video retrieval, UCF101" in page.text and page.text.count("comparable with R1") == 1
    assert "DPC+S²VC r2d3d18 dpc-s2vc alpha0.5-zero-clip40-step3 300" in page.text
    best = re.findall(r'<td class="number best"[^>]*>([\d.]+)<', page.html)
    assert best == ["10.0"], "beside the paper's 9.3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": 6}, "blocks of a clip 6 here, 8 in the paper"),
        ({"predicted": 1}, "predicted blocks 1 here, 3 in the paper"),
        ({"block_length": 4}, "frames of a block 4 here, 5 in the paper"),
        ({"frame_step": 1}, "pre-training frame step 1 here, 3 in the paper"),
    ],
)
def test_what_differs_in_dpc_is_said(
    change: dict[str, Any], message: str, dpc_as_the_paper: dict[str, Any], tmp_path: Path
) -> None:
    run = Path(str(dpc_as_the_paper["checkpoint"]))
    settings = merge_settings(
        {"method": "dpc-s2vc", "variant": ["alpha0.5-zero-clip40-step3"], "cache": "/data/ucf101"}, change
    )
    (run / "settings.yaml").write_text(settings_yaml(settings))
    result = read_one(tmp_path / "r", dpc_as_the_paper)
    assert message in differences(result, *row_of("Supplement, Table 1", "ucf101", "DPC+S²VC", "r2d3d18", "retrieval"))


def test_a_run_of_dpc_is_shown_against_dpc_s_defaults(dpc_as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    write_report([Path(str(dpc_as_the_paper["checkpoint"]))], tmp_path / "r.html")
    differing, same = Page(tmp_path / "r.html").text.split("settings as by default")
    assert "method dpc-s2vc s2vc" in differing and "frame_step" not in differing
    assert "backbone r2d3d18" in same and "frame_step 3" in same and "schedule constant" in same


def test_a_run_of_dpc_in_the_small_regime_is_shown_against_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.yaml").write_text(settings_yaml(with_regime([{"method": "dpc", "regime": "small"}], 720)))
    (run / "metrics.csv").write_text("step,epoch,loss\n1,1,1.0,0.5,0.5,0.5,0.001,9.0,0.0\n")
    report = write_report([run], tmp_path / "r.html")
    differing, same = Page(tmp_path / "r.html").text.split("settings as by default")
    assert "regime small paper" in differing and "schedule cosine constant" in differing
    assert "epochs 300" in same and report.pictures.count == 1  # curves, without a chance


def test_other_works_are_never_comparable(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    result = read_one(tmp_path / "r", as_the_paper)
    assert differences(result, *row_of("Table 2", "ucf101", "VCOP", "R3D")) == [OTHER_WORK]


def test_rows_of_ours_are_bold_only_beside_such_of_the_same_settings(
    as_the_paper: dict[str, Any], tmp_path: Path
) -> None:
    moco = written_run(tmp_path / "moco", 500, method="moco")
    other = written_run(tmp_path / "small", 500, method="moco", batch=64)
    for value, run in ((0.2, moco), (0.9, other)):
        described = as_the_paper | {"checkpoint": str(run), "method": "moco", "stored": "128x171"}
        save_result(tmp_path / "r", described, {"recall@1": value})
    # So are such as began from other weights in a file of the same name, or have done fewer epochs.
    for value, name, done in ((0.8, "other", 500), (0.7, "short", 20)):
        run = written_run(tmp_path / name, done, method="moco")
        if name == "other":
            (run / "init.sha256").write_text("0123\n")
        described = as_the_paper | {"checkpoint": str(run), "method": "moco", "stored": "128x171"}
        save_result(tmp_path / "r", described, {"recall@1": value})
    save_result(tmp_path / "r", as_the_paper | {"stored": "128x171"}, {"recall@1": 0.3})
    write_report([tmp_path / "r"], tmp_path / "r.html")
    assert re.findall(r'<td class="number best"[^>]*>([\d.]+)<', (tmp_path / "r.html").read_text()) == ["30.0"]


def test_test_videos_that_nobody_can_recognise_are_in_the_row(as_the_paper: dict[str, Any], tmp_path: Path) -> None:
    save_result(tmp_path / "r", as_the_paper, {"recall@1": 0.4, "unseen_share": 0.25})
    write_report([tmp_path / "r"], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "unseen R@1 %" in page.text and "0 25.0% 40.0" in page.text


def test_figures_of_the_paper_stand_beside_what_was_measured(labelled_cache: Path, tmp_path: Path) -> None:
    """What the paper prints: Fig. 3, Fig. 6, and the supplement's Figs. 1 and 5."""
    results, cache = tmp_path / "results", labelled_cache
    saved(results, cache, task="people", people=0.123, people_median=0.1, detector="HOG")
    saved(results, cache, task="motion", moving=0.345, moving_median=0.3)
    rs = {"r_relative": -0.2, "r_relative_permuted": -0.6, "r_moco_relative": -0.1}
    saved(results, cache, task="static-bias", method="s2vc-online", moco_method="moco", **rs)
    normal = {"pixels_published_h0": 0.125, "latents_published_h0": 0.875, "pixels_mse": 0.1}
    saved(results, cache, task="normality", **normal)
    similarity = describe_result("similarity", Cache(cache), "all", alpha=0.8)
    save_result(results, similarity, {"kept": 0.04, "intra_class_z": 0.75, "intra_class_z_p": 0.25})
    write_report([results, sweep(tmp_path / "sweep", cache)], tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    section = text[text.index("Figures of the paper") : text.index("The paper's figures are of")]
    for row in (
        "Fig. 3 share of latents kept, alpha 0.8, whole videos 4.0% 6.5% (UCF101), 5.7% (HMDB51) R5",
        "Fig. 3 share of latents kept, alpha 0.5, whole videos 22.7% 22.7% (UCF101), 22.3% (HMDB51) sweep",
        "r of (a - s) / s with s, S²VC -0.20 -0.40 R3",
        "r of (a - s) / s with s, MoCo -0.10 -0.33 R3",
        "share of people, by HOG 12.3% less than 20% R1",
        "share of moving pixels 34.5% about 30% R2",
        "static latents accepted as normal 87.5% most R4",
    ):
        assert row in section, row
    write_report([written_run(tmp_path / "other", method="moco")], tmp_path / "r.html")
    assert "Figures of the paper" not in Page(tmp_path / "r.html").text


def test_what_the_paper_did_not_measure_has_none_of_its_figures_beside(labelled_cache: Path, tmp_path: Path) -> None:
    others = {"r_relative": -0.2, "r_moco_relative": -0.1}
    saved(tmp_path / "r", labelled_cache, task="static-bias", method="random", moco_method="s2vc", **others)
    normal = {"latents_published_h0": 0.169}
    saved(tmp_path / "r", labelled_cache, task="normality", latents_stored="q8", **normal)
    write_report([tmp_path / "r"], tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    assert "r of (a - s) / s with s, random -0.20 no number R1" in text
    assert "r of (a - s) / s with s, S²VC -0.10 -0.40 R1" in text
    assert "(in steps of 1/8: look at what is dithered) 16.9% no number R2" in text


@pytest.mark.parametrize(
    ("cache", "dataset"),
    [
        ("/data/ucf101", "ucf101"), ("UCF101-128x171", "ucf101"), ("cache-hmdb51", "hmdb51"),
        ("kinetics400_cache", "k400"), ("sweeps/k200/cache", "k200"), ("/data/cache", None),
        ("ucf101-subset", None), ("my-ucf101", None), ("clips", None), ("", None),
    ],
)  # fmt: skip
def test_a_dataset_is_recognised_by_the_whole_name_only(cache: str, dataset: str | None) -> None:
    assert dataset_of(cache) == dataset


def test_the_paper_s_own_rows_have_settings_that_exist() -> None:
    fields = {f.name for f in dataclasses.fields(TrainingSettings)} | {"dataset"}
    for table in TABLES:
        for row in table.rows:
            assert len(row.values) == len(table.metrics)
            if row.pretraining:
                assert set(paper.pretraining_settings(row)) <= fields
                assert row.net in BACKBONES


def printed_numbers(shared: Path, caption: str) -> list[list[str]]:
    """The numbers of each row of the table above a caption, without gains, `-` for a dash."""
    lines = (shared / "paper.txt").read_text(encoding="utf-8").splitlines()
    end = next(n for n, line in enumerate(lines) if line.startswith(caption))
    start = next(n for n in range(end - 2, 0, -1) if not lines[n].strip())
    rows = [re.sub(r"<[^>]*>|\([^)]*\)", "", line).split("\t") for line in lines[start + 1 : end - 1]]
    numbers = [[c.strip() for c in row if re.fullmatch(r"\s*(\d+\.\d|-)\s*", c)] for row in rows]
    return [row for row in numbers if any(c != "-" for c in row)]


@pytest.mark.parametrize(
    ("caption", "rows", "columns"),
    [
        ("Table 1: **Top-1", paper._TABLE_1, 4),
        ("Table 2: **Recall", paper._TABLE_2, 5),
        ("Table 3: **Recall", paper._TABLE_3, 5),
        ("Table 4: R@1", paper._TABLE_4, 2),
        ("Table 1: Integrating", paper._SUPPLEMENT_1, 3),
        ("Table 2: Accuracy", paper._SUPPLEMENT_2, 2),
    ],
)
def test_the_transcription_is_what_the_paper_prints(
    caption: str, rows: tuple[PaperRow, ...], columns: int, shared: Path
) -> None:
    printed = [row[-columns:] for row in printed_numbers(shared, caption)]
    assert [["-" if v is None else f"{v:.1f}" for v in row.values] for row in rows] == printed


# --- in a browser


@pytest.fixture
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs a browser to open the page in, one of {', '.join(names)}")
    from playwright.sync_api import sync_playwright

    quiet = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    with sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=found, args=[f"--{flag}" for flag in (*quiet.split(), "disable-sync")]
        )
        yield opened
        opened.close()


def test_the_page_opens_in_a_browser_by_itself(
    browser: Any, trained: Path, labelled_cache: Path, tmp_path: Path
) -> None:
    folders = [sweep(tmp_path / "sweep", labelled_cache), trained, hostile(tmp_path / "hostile", labelled_cache)]
    out = tmp_path / "r.html"
    write_report(folders, out)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(out.as_uri())
    page.wait_for_load_state("networkidle")
    assert [url for url in requests if not url.startswith("data:")] == [out.as_uri()]
    assert complaints == []
    shown = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(shown) == 3 and all(shown)  # the sweep's curve, the run's, and a picture
    for heading in ("Sweeps", "Results", "Runs", "Pictures"):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.title() != "owned" and page.evaluate("document.scripts.length") == 0


def test_large_numbers_have_no_exponent() -> None:
    shown = [str(number_cell("parameters", value).text) for value in (0.123456, 24.0, 1234.5, 31_234_567.0)]
    assert shown == ["0.1235", "24", "1,234", "31,234,567"]

"""Settings: defaults, presets, files and flags over one another; what makes no sense is refused in a line."""

from pathlib import Path
from typing import Any

import pytest

from manifests.errors import UserError
from training.settings import (
    PRESETS,
    Settings,
    merge,
    read_settings_file,
    settings_text,
    wanted_variants,
    with_defaults_filled,
)

ALPHA = {"alpha": [0.5]}


def test_the_defaults_are_the_papers() -> None:
    settings = with_defaults_filled(merge(ALPHA))
    assert (settings.lr, settings.weight_decay, settings.batch, settings.epochs) == (1e-3, 1e-5, 128, 500)
    assert (settings.temperature, settings.momentum, settings.dim) == (0.07, 0.999, 128)
    assert (settings.clip_length, settings.size) == (16, 112)
    s3d = with_defaults_filled(merge(ALPHA, {"backbone": "s3d"}))
    assert (s3d.clip_length, s3d.size) == (32, 128)


def test_presets_files_and_flags_go_over_one_another(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lr: 3e-4\nbatch: 32\nkey-scale: [0.5, 1]\nalpha: 0.3\n")
    settings = merge(PRESETS["k400"], read_settings_file(tmp_path / "run.yaml"), {"batch": 64})
    assert (settings.epochs, settings.queue_limit) == (100, 16384)
    assert settings.lr == 3e-4  # YAML takes 3e-4 for text
    assert (settings.batch, settings.key_scale, settings.alpha) == (64, (0.5, 1.0), (0.3,))


def test_saved_settings_are_read_back_as_they_were(tmp_path: Path) -> None:
    settings = merge({"alpha": [0.1, 0.30000000000000004], "variant": ["keep0.2-zero-clip16"], "compile": True})
    (tmp_path / "settings.yaml").write_text(settings_text(settings))
    assert merge(read_settings_file(tmp_path / "settings.yaml")) == settings


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"epoch": 3}, "no setting 'epoch'"),
        ({"epochs": 0}, "epochs is 1 or more"),
        ({"epochs": 1.5}, "epochs cannot be 1.5"),
        ({"epochs": True}, "epochs cannot be True"),
        ({"lr": "fast"}, "lr cannot be 'fast'"),
        ({"lr": float("nan")}, "lr cannot be nan"),
        ({"method": "simclr"}, "method is one of"),
        ({"key_scale": [0.9, 0.2]}, "key_scale is two shares"),
        ({"key_scale": [0.2]}, "key_scale cannot be"),
        ({"queue": "-3"}, "queue is 'auto' or a number"),
        ({"queue": "0"}, "queue is 'auto' or a number"),
        ({"clip_length": 1}, "clip_length with r3d18 is 2"),
        ({"clip_length": 4, "backbone": "s3d"}, "clip_length with s3d is 5"),
        ({"size": 8}, "size is 32 pixels or more"),
        ({"variant": ["alpha-5"]}, "is no variant"),
        ({"alpha": [-1]}, "alpha is a number of 0 or more"),
        ({"alpha": []}, "say which key clips"),
        ({"method": "moco"}, "takes no motion-preserved clips"),
        ({"method": "s2vc-online", "keep": [0.2]}, "takes --alpha only"),
        ({"regime": "large"}, "regime is one of auto, paper, small"),
        ({"negatives": "both"}, "negatives is one of queue, batch"),
        ({"schedule": "linear"}, "schedule is one of step, cosine"),
        ({"warmup_share": 1}, "warmup_share lies in 0 to 1, below 1"),
        ({"negatives": "batch", "queue": "9"}, "queue 9, but negatives from the batch"),
        ({"dropout": 0.5}, "dropout belongs to --method supervised"),
        ({"still": True}, "still belongs to --method supervised"),
        ({"label": "scene"}, "label belongs to --method supervised"),
        ({"method": "supervised", "alpha": [], "dropout": 1.0}, "dropout lies in 0 to 1"),
    ],
)
def test_nonsense_is_refused_by_name(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        merge({**ALPHA, **wrong})


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "epochs: [", "just words", "a: &a [*a, *a]\n: ? {"])
def test_files_that_hold_no_settings_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UserError):
        merge(read_settings_file(tmp_path / "run.yaml"))


def test_draws_of_random_strategies_are_variants_of_their_own() -> None:
    settings = merge({"variant": ["alpha0.5-noise-video", "alpha0.50-zero-video"], "alpha": [0.5], "draws": 3})
    names = [v.name for v in wanted_variants(settings)]
    assert names == ["alpha0.5-zero-video", *(f"alpha0.5-noise-video-draw{d}" for d in range(3))]


def test_every_setting_has_a_help() -> None:
    assert all(f.metadata["help"] for f in Settings.__dataclass_fields__.values())

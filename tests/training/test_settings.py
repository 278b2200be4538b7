"""Settings: defaults, presets, files and flags over one another; what makes no sense is refused in a line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from s2vc.manifests.errors import UserError
from s2vc.training.run_folder import RunFolder
from s2vc.training.settings import (
    METHODS,
    PRESETS,
    TrainingSettings,
    is_contrastive,
    merge_settings,
    read_settings_file,
    settings_yaml,
    training_variants,
)

ALPHA = {"alpha": [0.5]}


def test_the_defaults_are_the_papers() -> None:
    settings = merge_settings(ALPHA)
    assert (settings.lr, settings.weight_decay, settings.batch, settings.epochs) == (1e-3, 1e-5, 128, 500)
    assert (settings.temperature, settings.momentum, settings.dim) == (0.07, 0.999, 128)
    assert (settings.clip_length, settings.size) == (16, 112)
    s3d = merge_settings(ALPHA, {"backbone": "s3d"})
    assert (s3d.clip_length, s3d.size) == (32, 128)


def test_presets_files_and_flags_go_over_one_another(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lr: 3e-4\nbatch: 32\nkey-scale: [0.5, 1]\nalpha: 0.3\n")
    settings = merge_settings(PRESETS["k400"], read_settings_file(tmp_path / "run.yaml"), {"batch": 64})
    assert (settings.epochs, settings.queue_limit) == (100, 16384)
    assert settings.lr == 3e-4  # YAML takes 3e-4 for text
    assert (settings.batch, settings.key_scale, settings.alpha) == (64, (0.5, 1.0), (0.3,))


def test_saved_settings_are_read_back_as_they_were(tmp_path: Path) -> None:
    settings = merge_settings(
        {"alpha": [0.1, 0.30000000000000004], "variant": ["keep0.2-zero-clip16"], "compile": True}
    )
    (tmp_path / "settings.yaml").write_text(settings_yaml(settings))
    assert merge_settings(read_settings_file(tmp_path / "settings.yaml")) == settings


@pytest.mark.parametrize(
    ("wrong", "message"),
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
        ({"queue": "-3"}, "queue is 1 or more"),
        ({"queue": "0"}, "queue is 1 or more"),
        ({"queue": "many"}, "queue cannot be 'many'"),
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
        ({"schedule": "linear"}, "schedule is one of step, cosine, constant"),
        ({"warmup_share": 1}, "warmup_share lies in 0 to 1, below 1"),
        ({"negatives": "batch", "queue": "9"}, "queue 9, but negatives from the batch"),
        ({"dropout": 0.5}, "dropout belongs to --method supervised"),
        ({"still": True}, "still belongs to --method supervised"),
        ({"label": "scene"}, "label belongs to --method supervised"),
        ({"augment": "full"}, "augment belongs to --method supervised"),
        ({"decays": [0.5, 1.5]}, "decays above 0 to 1"),
        ({"std": [0.2, 0.2, 0.0]}, "std lies above 0"),
        ({"mean": [0.5]}, "mean cannot be"),
        ({"method": "supervised", "alpha": [], "dropout": 1.0}, "dropout lies in 0 to 1"),
        ({"method": "supervised", "alpha": [], "accumulate": 2}, "accumulate would change the loss of --method superv"),
        ({"method": "dpc", "alpha": [], "accumulate": 2}, "accumulate would change the loss of --method dpc"),
        ({"accumulate": 0}, "accumulate is 1 or more"),
        ({"compile": True, "activation_checkpointing": True}, "do not go together"),
    ],
)
def test_nonsense_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        merge_settings({**ALPHA, **wrong})


def test_what_earlier_versions_wrote_for_not_given_is_not_given() -> None:
    written = {"queue": "auto", "split": "auto", "init": "", "local_cache": "", "shards_at_hand": 0}
    written |= {"loader_workers": -1, "clip_length": 0, "frame_step": 0, "size": 0}
    assert merge_settings(ALPHA, written) == merge_settings(ALPHA)
    assert merge_settings(ALPHA, {"size": 64}, {"size": None}) == merge_settings(ALPHA)


def test_dpc_has_defaults_of_its_own_under_whatever_is_given() -> None:
    settings = merge_settings({"method": "dpc"})
    assert (settings.blocks, settings.block_length, settings.predicted) == (8, 5, 3)
    assert (settings.backbone, settings.clip_length, settings.frame_step, settings.size) == ("r2d3d18", 40, 3, 128)
    assert (settings.epochs, settings.warmup_epochs, settings.lr, settings.weight_decay) == (300, 0, 1e-3, 1e-5)
    assert (settings.regime, settings.schedule) == ("paper", "constant")
    assert merge_settings({"epochs": 7, "frame_step": 2}, {"method": "dpc-s2vc", "alpha": 0.5}).epochs == 7
    assert merge_settings(yaml.safe_load(settings_yaml(settings))) == settings
    assert merge_settings(ALPHA).frame_step == 1


@pytest.mark.parametrize("method", ["dpc", "supervised"])
def test_runs_of_earlier_versions_go_on_where_a_default_has_changed_that_they_do_not_use(
    tmp_path: Path, method: str
) -> None:
    earlier = merge_settings({"method": method, "head": "mlp", "key_augment": "crop"})
    RunFolder(tmp_path / "run").open(earlier)
    RunFolder(tmp_path / "run").open(merge_settings({"method": method}))
    moco = RunFolder(tmp_path / "moco")
    moco.open(merge_settings({"method": "moco", "head": "mlp"}))
    with pytest.raises(UserError, match="head is 'mlp' there, 'linear' here"):
        moco.open(merge_settings({"method": "moco"}))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "r3d18"}, "takes --backbone r2d3d18"),
        ({"predicted": 8}, "predicted is less than the 8 blocks"),
        ({"blocks": 1}, "blocks is 2 or more"),
        ({"blocks": 2, "block_length": 2, "predicted": 1}, "is 5 to 4096 frames, not 4"),
        ({"blocks": 1000}, "is 5 to 4096 frames, not 5000"),
        ({"clip_length": 16}, "clip_length of 8 blocks of 5 frames is 40"),
        ({"alpha": [0.5]}, "takes no motion-preserved clips"),
        ({"preserved": 1.0}, "preserved belongs to --method dpc-s2vc"),
        ({"method": "dpc-s2vc"}, "say which motion-preserved clips"),
        ({"method": "dpc-s2vc", "alpha": [0.5], "preserved": 0}, "preserved lies in 0 to 1, above 0"),
        ({"pair": "same"}, "pair means nothing to --method dpc"),
        ({"method": "moco", "blocks": 4}, "blocks belongs to --method dpc"),
    ],
)
def test_nonsense_of_blocks_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        merge_settings({"method": "dpc", **wrong})


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_tell_keys_from_others_are_those_of_pairs(method: str) -> None:
    assert is_contrastive(method) == (method in ("s2vc", "moco", "s2vc-online"))


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "epochs: [", "just words", "a: &a [*a, *a]\n: ? {"])
def test_files_that_hold_no_settings_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UserError):
        merge_settings(read_settings_file(tmp_path / "run.yaml"))


def test_draws_of_random_strategies_are_variants_of_their_own() -> None:
    settings = merge_settings({"variant": ["alpha0.5-noise-video", "alpha0.50-zero-video"], "alpha": [0.5], "draws": 3})
    names = [v.name for v in training_variants(settings)]
    assert names == ["alpha0.5-zero-video", *(f"alpha0.5-noise-video-draw{d}" for d in range(3))]


def test_every_setting_has_a_help() -> None:
    assert all(f.metadata["help"] for f in TrainingSettings.__dataclass_fields__.values())

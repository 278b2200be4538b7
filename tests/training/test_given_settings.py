"""Settings that are given by name and would do nothing are refused; saved ones, defaults and presets are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from s2vc.manifests.errors import UserError
from s2vc.training.given_settings import refuse_without_effect
from s2vc.training.settings import METHODS, PRESETS, merge_settings, read_settings_file

METHOD = {
    "s2vc": {"method": "s2vc", "alpha": [0.5]},
    "moco": {"method": "moco"},
    "s2vc-online": {"method": "s2vc-online", "alpha": [0.5]},
    "supervised": {"method": "supervised"},
    "dpc": {"method": "dpc"},
    "dpc-s2vc": {"method": "dpc-s2vc", "alpha": [0.5]},
}
OF_PAIRS = {"head": "linear", "pair": "independent", "key_augment": "full", "momentum": 0.9, "temperature": 0.2}
OF_PAIRS |= {"norm_group": 16, "negatives": "batch", "queue_limit": 64}


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        *(("supervised", {name: value}, "belongs to pairs of clips") for name, value in OF_PAIRS.items()),
        *(("dpc", {name: value}, "belongs to pairs of clips") for name, value in OF_PAIRS.items()),
        ("dpc", {"query_scale": [0.2, 1.0]}, "augmentation of its own"),
        ("dpc", {"preserved": 0.5}, "--method dpc-s2vc"),
        *((name, {"flow": "steady"}, "belongs to --method s2vc-online") for name in METHODS if name != "s2vc-online"),
        ("s2vc", {"draws": 4}, "of a random strategy"),
        ("moco", {"augment": "light"}, "belongs to --method supervised"),
        ("moco", {"blocks": 8}, "belongs to --method dpc"),
        ("moco", {"block_length": 5}, "belongs to --backbone r2d3d18"),
        ("moco", {"decays": [0.5], "schedule": "cosine"}, "belongs to --schedule step"),
        ("moco", {"monitor_every": 5}, "belongs to --monitor"),
    ],
)
def test_what_has_no_effect_is_refused(method: str, given: dict[str, Any], message: str) -> None:
    settings = merge_settings(METHOD[method], given)
    with pytest.raises(UserError, match=message):
        refuse_without_effect(given, settings)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        *(("s2vc", {name: value}) for name, value in OF_PAIRS.items() if name != "queue_limit"),
        ("s2vc-online", {"flow": "steady"}),
        ("s2vc", {"variant": ["alpha0.5-noise-video"], "alpha": [], "draws": 4}),
        ("moco", {"decays": [0.5]}),
        ("moco", {"block_length": 5, "backbone": "r2d3d18"}),
        ("dpc-s2vc", {"preserved": 0.5, "block_length": 5}),
        ("supervised", {"query_scale": [0.2, 1.0], "jitter": "per-frame", "augment": "light"}),
        *(("s2vc", preset) for preset in PRESETS.values()),
    ],
)
def test_what_has_an_effect_is_not(method: str, given: dict[str, Any]) -> None:
    refuse_without_effect(given, merge_settings(METHOD[method], given))


def test_a_saved_run_is_gone_on_with(cache_path: Path, tmp_path: Path, train_cli: Callable[..., Result]) -> None:
    """Its settings name all of them, and those of the command line are refused before anything is written."""
    how = [cache_path, "--method", "supervised", "--split", "all", "--batch", 2, "--size", 32, "--clip-length", 4]
    how += ["--epochs", 1, "--loader-workers", 0, "--device", "cpu"]
    refused = train_cli(*how, "--flow", tmp_path / "nowhere", "--out", tmp_path / "refused")
    assert refused.exit_code == 2 and "flow has no effect, and is to be left out" in refused.output
    assert not (tmp_path / "refused").exists()
    assert train_cli(*how, "--out", tmp_path / "run").exit_code == 0
    assert read_settings_file(tmp_path / "run" / "settings.yaml")["flow"] == "cache"
    again = train_cli(cache_path, "--config", tmp_path / "run" / "settings.yaml", "--out", tmp_path / "run")
    assert again.exit_code == 0, again.output

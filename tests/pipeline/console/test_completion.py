"""Shells complete commands, options, caches and variants, by click's own protocol, and at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.console.test_startup import HEAVY

VARIANTS = ("alpha0.3-zero-video", "alpha0.5-noise-clip16", "keep0.2-tfd-video")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache, of which only the names of variants are there, and what is left of one that was begun."""
    folder = tmp_path_factory.mktemp("completed")
    for name in VARIANTS:
        (folder / "cache" / "motion" / name).mkdir(parents=True)
        (folder / "cache" / "motion" / name / "variant.json").write_text("{}")
    (folder / "cache" / "motion" / "alpha0.3.attempt-1").mkdir()
    return folder


def complete(folder: Path, *words: str, script: str = "s2vc.pipeline.cli:main") -> list[tuple[str, str]]:
    """What bash is offered for the last of the words: (kind, value), kind `plain`, or `dir` and `file` for what the
    shell lists itself."""
    module, name = script.split(":")
    code = (
        f"import sys\nfrom {module} import {name} as main\n"
        "try:\n    main(prog_name='prog')\n"
        f"finally:\n    print('HEAVY', [n for n in {HEAVY} if n in sys.modules], file=sys.stderr)"
    )
    asked = {"COMP_WORDS": " ".join(["prog", *words]), "COMP_CWORD": str(len(words)), "_PROG_COMPLETE": "bash_complete"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.stderr == "HEAVY []\n"
    return [(kind, value) for kind, _, value in (line.partition(",") for line in ended.stdout.split())]


def test_commands_and_options_are_offered(folder: Path) -> None:
    assert complete(folder, "ren") == [("plain", "render")]
    assert complete(folder, "manifest", "kin") == [("plain", "kinetics200"), ("plain", "kinetics400")]
    assert complete(folder, "render", "cache", "--al") == [("plain", "--alpha")]
    assert complete(folder, "render", "cache", "--scope", "") == [("plain", "video"), ("plain", "clip")]
    assert ("plain", "--json") in complete(folder, "info", "--")


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (["info", "ca"], "s2vc.pipeline.cli:main"),
        (["ca"], "s2vc.training.cli:main"),
        (["run", "ca"], "s2vc.training.cli:main"),
        (["linear", "ca"], "s2vc.eval.cli:main"),
        (["ca"], "s2vc.eval.cli.sweep:main"),
    ],
)
def test_a_cache_is_a_folder(folder: Path, words: list[str], script: str) -> None:
    assert complete(folder, *words, script=script) == [("dir", "ca")]


def test_variants_are_those_of_the_cache(folder: Path) -> None:
    for command in ("preview", "export", "drop"):
        assert complete(folder, command, "cache", "--variant", "") == [("plain", name) for name in VARIANTS]
    assert complete(folder, "drop", "cache", "--variant", "keep") == [("plain", VARIANTS[2])]
    training = complete(folder, "cache", "--variant", "alpha0.5", script="s2vc.training.cli:main")
    assert training == [("plain", VARIANTS[1])]
    assert complete(folder, "drop", "nothing", "--variant", "") == []
    assert complete(folder, "drop", "s3://bucket/cache", "--variant", "") == []
    assert ("plain", "--variant") in complete(folder, "--var", script="s2vc.training.cli:main")

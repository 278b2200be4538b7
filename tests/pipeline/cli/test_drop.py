"""`s2vc-prep drop` removes renderings and leftovers, and nothing else; `render` makes the same bytes again."""

import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.storage.files import ATTEMPT
from tests.conftest import VARIANTS
from tests.support.hashes import tree

Prep = Callable[..., Result]
VIDEO = VARIANTS[0]


def test_a_dropped_variant_is_gone_and_comes_back_the_same(cli: Prep, cache_path: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(cache_path, tmp_path / "cache"))
    before = tree(cache)
    result = cli("drop", cache, "--variant", VIDEO)
    assert result.exit_code == 0 and f"{VIDEO} is dropped: " in result.output
    assert VIDEO not in Cache(cache).storage.variant_names()
    left = {name: digest for name, digest in before.items() if VIDEO not in name}
    assert tree(cache) == left
    rendered = cli("render", cache, "--alpha", "0.5")
    assert rendered.exit_code == 0
    assert tree(cache) == before


def test_leftovers_of_killed_jobs_go_when_asked(cli: Prep, cache_path: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(cache_path, tmp_path / "cache"))
    (cache / "notes.attempt-2").write_text("a user's")
    before = tree(cache)
    (cache / "frames" / f"00000.h5{ATTEMPT}12-ab34cd56").write_bytes(b"x" * 5000)
    result = cli("drop", cache, "--failed-attempts")
    assert result.exit_code == 0 and "5.0 kB removed" in result.output
    assert tree(cache) == before


def test_nothing_is_removed_through_a_link_out_of_the_cache(cli: Prep, cache_path: Path, tmp_path: Path) -> None:
    """The folder of renderings is another cache's."""
    cache, other = (Path(shutil.copytree(cache_path, tmp_path / name)) for name in ("cache", "other"))
    shutil.rmtree(cache / "motion")
    (cache / "motion").symlink_to(other / "motion")
    before = tree(other)
    for options in (("--variant", VIDEO), ("--failed-attempts",)):
        result = cli("drop", cache, *options)
        assert result.exit_code == 2 and "is a link that leads out of the cache" in result.output
    assert tree(other) == before


def test_mistakes_are_one_line(cli: Prep, cache_path: Path, tmp_path: Path) -> None:
    for options, complaint in (
        (("--variant", "alpha0.99-zero-video"), f"it has {', '.join(sorted(VARIANTS))}"),
        (("--variant", "frames"), f"an example is alpha0.5-zero-video; {cache_path} has {', '.join(sorted(VARIANTS))}"),
        ((), "say what to drop"),
    ):
        result = cli("drop", cache_path, *options)
        assert result.exit_code == 2 and complaint in result.output
    assert "no cache" in cli("drop", tmp_path / "nothing", "--failed-attempts").output


def test_a_rendering_says_what_it_keeps(cli: Prep, cache_path: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(cache_path, tmp_path / "cache"))
    result = cli("render", cache, "--keep", "0.25", "--alpha", "50")
    assert result.exit_code == 0, result.output
    lines = {line.split(":")[0]: line for line in result.output.splitlines() if "keeps" in line}
    assert lines["alpha50-zero-video"].endswith("keeps 0.0% of the latents")
    assert "nearly nothing is left of a clip" in result.output

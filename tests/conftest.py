"""Provide the fixtures that all tests share: real videos, real caches, and one Ray for the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from s2vc.pipeline.flow.architecture import CENTRED
from tests.support.clips import moving_square, write_clip
from tests.support.object_store import choose_server, served

if TYPE_CHECKING:
    import s3fs

# Tests run in three processes (pytest-xdist), and many start more. If each had a thread for every core, torch would
# spend its time waiting.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray must not send usage reports from tests.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

choose_server()

CLIPS = {  # video_id: frames, class
    "slide/a.mp4": (40, "slide"),
    "slide/b c.mp4": (21, "slide"),
    "orbit/a.mp4": (33, "orbit"),
    "orbit/short.mp4": (9, "orbit"),
    "orbit/still.mp4": (1, "orbit"),
}
MISSING = "orbit/missing.mp4"
FRAME_SIZE = (72, 98)

FEW = ("slide/b c.mp4", "orbit/short.mp4", "orbit/still.mp4")
"""The cache in bfloat16 has these of the CLIPS only, since a processor without bfloat16 takes seconds for a frame."""

EACH = [("float32", video) for video in CLIPS] + [(CENTRED, video) for video in FEW]
"""Tests that both caches have to pass run for each of these pairs of precision and video."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked slow, with a reason, unless --slow is given."""
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes long: pytest --slow runs it"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with recorded outputs and real data next to the repository; skip the test without it."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "DESIGN.md").exists():
        pytest.skip("needs ../shared, with the recorded outputs and real videos, which is not there")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Start Ray once for the session, with two CPUs and no dashboard."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def cli(ray_session: None) -> Callable[..., Result]:
    """Return a function that runs `s2vc-prep` in this process: cli("encode", …) -> result with exit_code and output."""
    from s2vc.pipeline.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return run


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of real MP4s and manifest.csv, which also lists a video that does not exist."""
    folder = tmp_path_factory.mktemp("videos")
    rows = ["video_id,label,class_name,split1"]
    for number, (video_id, (frames, name)) in enumerate(CLIPS.items()):
        write_clip(folder / video_id, moving_square(frames, seed=number))
        rows.append(f"{video_id},{int(name == 'slide')},{name},{'test' if number % 2 else 'train'}")
    rows.insert(3, f"{MISSING},0,orbit,train")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def s3() -> Iterator["s3fs.S3FileSystem"]:
    """Run an S3 server with an empty bucket at the address that the environment variables of S3's tools give."""
    with served() as system:
        yield system


VARIANTS = ("alpha0.5-zero-video", "alpha0.5-zero-clip16", "keep0.2-zero-clip16")


@pytest.fixture(scope="session")
def cache_path(videos: Path, cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache of `videos` in float32, in shards of 4, with the VARIANTS rendered. No test may write into it."""
    return make_cache(cli, videos / "manifest.csv", tmp_path_factory.mktemp("made") / "cache", "float32", failed=True)


@pytest.fixture(scope="session")
def caches(
    videos: Path, cache_path: Path, cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Return, by precision, the cache of `cache_path` and one of FEW videos in the precision that GPUs and AMX use.

    No test may write into them.
    """
    folder = tmp_path_factory.mktemp("bfloat16")
    (folder / "manifest.csv").write_text("\n".join(["video_id", *FEW]) + "\n")
    made = make_cache(cli, folder / "manifest.csv", folder / "cache", CENTRED, "--root", videos)
    return {"float32": cache_path, CENTRED: made}


def make_cache(
    cli: Callable[..., Result], manifest: Path, out: Path, precision: str, *more: object, failed: bool = False
) -> Path:
    """Encode a manifest and render the VARIANTS; return the cache. failed: whether a video is expected to fail."""
    size = "x".join(map(str, FRAME_SIZE))
    for exit_code, command in (
        (
            3 * failed,
            ("encode", manifest, "--out", out, "--size", size, "--shard-size", 4, "--precision", precision, *more),
        ),
        (0, ("render", out, "--alpha", "0.5")),
        (0, ("render", out, "--alpha", "0.5", "--keep", "0.2", "--scope", "clip")),
    ):
        result = cli(*command)
        assert result.exit_code == exit_code, result.output
    return out

"""What all tests share: real videos, one real cache, one Ray for the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from s2vc.pipeline.flow.model import CENTRED
from tests.support.clips import moving_square, write_clip
from tests.support.object_store import choose_server, served

if TYPE_CHECKING:
    import s3fs

# Tests run in two processes (pytest-xdist), and many start more: with a thread for every core in each of them, torch
# would spend its time waiting.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray's worker processes import the packages under test; its reports are nobody's business.
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
"""Of CLIPS, those in the cache in bfloat16, which takes seconds for a frame where the processor does not have it."""

EACH = [("float32", video) for video in CLIPS] + [(CENTRED, video) for video in FEW]
"""Precision and video of every test that both caches have to pass."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow are left out, with a sentence, unless they are asked for."""
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes long: pytest --slow runs it"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recorded outputs and real data beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "DESIGN.md").exists():
        pytest.skip("needs ../shared, with the recorded outputs and real videos, which is not there")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Ray, started once: two CPUs, no dashboard."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def cli(ray_session: None) -> Callable[..., Result]:
    """Runs `s2vc-prep` in this process: cli("encode", …) -> result with exit_code and output."""
    from s2vc.pipeline.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return run


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real MP4s and manifest.csv, which also lists a video that is not there."""
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
    """An S3 server with an empty bucket, where S3's own tools look for it."""
    with served() as system:
        yield system


VARIANTS = ("alpha0.5-zero-video", "alpha0.5-zero-clip16", "keep0.2-zero-clip16")


@pytest.fixture(scope="session")
def cache_path(videos: Path, cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of those videos in float32, in shards of 4, with the VARIANTS rendered. Not to be written into."""
    return make_cache(cli, videos / "manifest.csv", tmp_path_factory.mktemp("made") / "cache", "float32", failed=True)


@pytest.fixture(scope="session")
def caches(
    videos: Path, cache_path: Path, cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """That cache, and one of FEW of the videos as GPUs and AMX make it, by precision. Not to be written into."""
    folder = tmp_path_factory.mktemp("bfloat16")
    (folder / "manifest.csv").write_text("\n".join(["video_id", *FEW]) + "\n")
    made = make_cache(cli, folder / "manifest.csv", folder / "cache", CENTRED, "--root", videos)
    return {"float32": cache_path, CENTRED: made}


def make_cache(
    cli: Callable[..., Result], manifest: Path, out: Path, precision: str, *more: object, failed: bool = False
) -> Path:
    """A cache with the VARIANTS; failed: a video is expected to fail."""
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

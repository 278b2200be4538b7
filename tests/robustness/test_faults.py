"""The real command on storage that fails: a sentence, no video to blame, and then the bytes of an undisturbed run."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from s2vc.pipeline.cache import Cache
from tests.support.clips import moving_square, write_clip
from tests.support.disks import PAGE, ext4, mount, resize, space_of, system, tmpfs, unmount
from tests.support.hashes import tree
from tests.support.processes import Job, end, run, start, stopped, wait_for, workers
from tests.support.reference_run import encode_command, render_command

PLENTY = 64 << 20
NOBODY = 65534
GO_ON = "run the same command again to go on"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for disks; whatever is mounted in it is gone when the test is done."""
    yield tmp_path
    for partition in sorted(psutil.disk_partitions(all=True), key=lambda p: len(p.mountpoint), reverse=True):
        if Path(partition.mountpoint).is_relative_to(tmp_path):
            unmount(Path(partition.mountpoint))


def assert_told(output: str, *words: str) -> None:
    """Sentences that hold these words, and nothing of the program's insides."""
    for word in words:
        assert word in output, output
    for inside in ("Traceback", "Errno", "Error:", ".attempt-", "buf = "):
        assert inside not in output, output


def assert_nobody_failed(out: Path) -> None:
    assert set(Cache(out).index["status"]) <= {"ok", ""}


def first_files(quiet: Path) -> list[Path]:
    """What the driver writes before the first shard, and the index that stays."""
    names = ("flow.safetensors", "latents.zarr/zarr.json", "index.csv", "cache.json", ".lock")
    return [quiet / name for name in names]


def shard_files(quiet: Path, *patterns: str) -> list[Path]:
    return [f for p in patterns for f in quiet.glob(p) if f.is_file()]


INGESTED = ("frames/00000.h5", "small/00000.h5")
ENCODED = ("latents.zarr/00000/**/*", "receipts/encode/00000.json")
ALL = ("frames/*", "small/*", "latents.zarr/0*/**/*", "receipts/ingest/*", "receipts/encode/*")


# Of the undisturbed cache, what finds room, and for how many bytes more; what is said.
FULL = {
    "the flow": ([], 1 << 20, "flow.safetensors: No space left on device"),
    "frames": ([], 400_000, "/00000.h5: No space left on device"),
    "a receipt": ([*INGESTED], 0, "receipts/ingest/00000.json: No space left on device"),
    "latents": ([*INGESTED, "receipts/ingest/00000.json"], 500_000, "latents.zarr/00000: No space left on device"),
    "the last index": ([*ALL], 0, "index.csv: No space left on device"),
}


@pytest.mark.parametrize("where", ["frames", *(pytest.param(w, marks=pytest.mark.slow) for w in FULL if w != "frames")])
def test_a_disk_that_fills_during_encode(folder: Path, place: Path, where: str) -> None:
    quiet, out = folder / "quiet", place / "disk"
    fits, more, says = FULL[where]
    first = [] if where == "the flow" else first_files(quiet)
    tmpfs(out, space_of([*first, *shard_files(quiet, *fits)]) + more)
    # One worker, so that shards come one after another and the disk is full where it is meant to be.
    code, output = run(encode_command(folder, out, workers=1))
    assert code == 1
    assert_told(output, says)
    if where != "the flow":
        assert_told(output, "Stopped early, since storage fails", GO_ON)
        assert_nobody_failed(out)
    resize(out, PLENTY)
    assert run(encode_command(folder, out, workers=1))[0] == 0
    assert tree(out) == {k: v for k, v in tree(quiet).items() if "motion" not in k}


@pytest.mark.slow
def test_a_disk_that_fills_during_render_and_one_too_full_to_begin(folder: Path, place: Path) -> None:
    quiet, out = folder / "quiet", place / "disk"
    tmpfs(out, PLENTY)
    shutil.copytree(quiet, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("motion"))
    (out / ".lock").write_bytes((quiet / ".lock").read_bytes())
    used = space_of(f for f in out.rglob("*") if f.is_file())
    resize(out, used)
    code, output = run(encode_command(folder, out))
    assert code == 1
    assert_told(output, "index.csv: No space left on device")
    resize(out, used + 40 * PAGE)
    code, output = run(render_command(out))
    assert code == 1
    assert_told(output, "is not done: render: ", "00000.h5: No space left on device", GO_ON)
    resize(out, PLENTY)
    assert run(render_command(out))[0] == 0
    assert tree(out) == tree(quiet)


def test_a_disk_that_is_too_full_for_pictures_and_clips(folder: Path, place: Path) -> None:
    """It is not a mistake in the call, which exit code 2 would say."""
    quiet, disk = folder / "quiet", place / "disk"
    tmpfs(disk, 2 * PAGE)
    (disk / "filled").write_bytes(bytes(PAGE))
    for command in (
        ["preview", quiet, "--alpha", "0.5", "--out", disk / "p.png"],
        ["export", quiet, "--alpha", "0.5", "--out", disk / "clips", "--format", "frames"],
        ["info", quiet, "--plot", disk / "shares.png"],
    ):
        code, output = run(command)
        assert code == 1, output
        assert_told(output, "No space left on device")


@pytest.mark.slow
def test_a_disk_that_fills_in_a_workers_spool(place: Path) -> None:
    """A long video goes through a scratch file in the cache's folder before it is in the shard."""
    write_clip(place / "videos" / "long.mp4", moving_square(600))
    (place / "m.csv").write_text("video_id\nlong.mp4\n")
    assert run(encode_command(place, place / "quiet"))[0] == 0
    out = place / "disk"
    tmpfs(out, space_of(first_files(place / "quiet")) + (3 << 20))
    code, output = run(encode_command(place, out))
    assert code == 1
    assert_told(output, "is not done: ingest: ", "No space left on device", GO_ON)
    assert list(out.glob("frames/*")) == [], "what was begun is gone, and has freed its space"
    resize(out, PLENTY)
    assert run(encode_command(place, out))[0] == 0
    assert tree(out) == tree(place / "quiet")


def test_a_place_that_may_only_be_read(folder: Path, place: Path) -> None:
    quiet, out = folder / "quiet", place / "disk"
    tmpfs(out, PLENTY)
    mount("-o", "remount,ro", out)
    code, output = run(encode_command(folder, out))
    assert code == 2
    assert_told(output, ".lock: Read-only file system")
    assert output.count("\n") == 1
    mount("-o", "remount,rw", out)
    shutil.copytree(quiet, out, dirs_exist_ok=True)
    mount("-o", "remount,ro", out)
    for command in (encode_command(folder, out), render_command(out)):
        code, output = run(command)
        assert code == 2
        assert_told(output, "Read-only file system")
    assert run(["verify", out])[0] == 0, "to check it, nothing is written"
    assert tree(out) == tree(quiet)


def working(job: Job, task: str) -> list[psutil.Process]:
    found = wait_for(lambda: workers(job, task), job)
    assert isinstance(found, list)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ingest", "render"])
def test_a_file_system_that_breaks_in_the_middle_of_a_job(folder: Path, place: Path, task: str) -> None:
    """The kernel makes a file system read-only under the files that are open, as after an error of the disk."""
    quiet, image, out = folder / "quiet", place / "image", place / "disk"
    ext4(image, out)
    shutil.rmtree(out / "lost+found")
    commands = [encode_command(folder, out), render_command(out)]
    if task == "render":
        assert run(commands[0])[0] == 0
    job = start(commands[task == "render"])
    with stopped(working(job, task)):
        mount("-o", "remount,abort", out)
    code, output = end(job)
    assert code == 1
    assert_told(output, "Read-only file system", "Stopped early, since storage fails", GO_ON)
    assert_nobody_failed(out)
    system("umount", out)
    mount("-o", "loop", image, out)
    for command in commands:
        assert run(command)[0] == 0
    assert tree(out) == tree(quiet)


@pytest.fixture
def nobody(folder: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    """A folder that anybody may enter, with the videos; and how to start a process as a user who is nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        shutil.copytree(folder / "videos", place / "videos")
        shutil.copy(folder / "m.csv", place)
        (place / "home").mkdir()
        for path in place.rglob("*"):
            os.chown(path, NOBODY, -1)
        # Where Python is in root's own folder, nobody could run it there.
        (place / "python").mkdir()
        mount("--bind", sys.base_prefix, place / "python")
        python = place / "python" / Path(sys.executable).resolve().relative_to(sys.base_prefix)
        home = f"{place}/home"
        packages = [p for p in sys.path if not p.startswith(sys.base_prefix)]
        environment = {"HOME": home, "RAY_TMPDIR": home, "TMPDIR": home, "PYTHONPATH": os.pathsep.join(packages)}
        environment["LD_LIBRARY_PATH"] = str(place / "python" / "lib")
        as_nobody: dict[str, object] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": home}
        try:
            check = [python, "-c", "import s2vc.pipeline.jobs.encode_job"]
            if subprocess.run(check, env=os.environ | environment, capture_output=True, **as_nobody).returncode:  # type: ignore[call-overload]
                pytest.skip("another user may not read the packages")
            yield place, {"environment": environment, "python": str(python), **as_nobody}
        finally:
            unmount(place / "python")


@pytest.mark.slow
def test_no_permission_to_write_the_cache(folder: Path, nobody: tuple[Path, dict[str, object]]) -> None:
    place, as_nobody = nobody
    out = place / "cache"
    out.mkdir()
    code, output = run(encode_command(place, out), **as_nobody)
    assert code == 2
    assert_told(output, f"{out}/.lock: Permission denied")
    os.chown(out, NOBODY, -1)
    assert run(encode_command(place, out), **as_nobody)[0] == 0
    assert tree(out) == {k: v for k, v in tree(folder / "quiet").items() if "motion" not in k}
    os.chown(out, 0, 0)
    (out / "motion").mkdir(mode=0o755)
    code, output = run(render_command(out), **as_nobody)
    assert code == 2
    assert_told(output, "Permission denied")


@pytest.mark.slow
def test_no_permission_to_read_videos(folder: Path, nobody: tuple[Path, dict[str, object]]) -> None:
    """The whole folder: nobody's fault. One file: that row's."""
    place, as_nobody = nobody
    out, videos = place / "cache", place / "videos"
    for path in (videos, videos / "2.mp4"):
        os.chown(path, 0, 0)
    out.mkdir()
    os.chown(out, NOBODY, -1)
    videos.chmod(0o744)  # its names may be read, and nothing else
    code, output = run(encode_command(place, out), **as_nobody)
    assert code == 2
    assert_told(output, f"no permission to read the folder {videos}")
    videos.chmod(0o755)
    (videos / "2.mp4").chmod(0o600)
    code, output = run(encode_command(place, out), **as_nobody)
    assert code == 3
    index = Cache(out).index.set_index("video_id")
    assert index.loc["2.mp4", "reason"] == "no permission to read it"
    assert (index.drop("2.mp4")["status"] == "ok").all()
    (videos / "2.mp4").chmod(0o644)
    assert run([*encode_command(place, out), "--retry-failed"], **as_nobody)[0] == 0
    assert tree(out) == {k: v for k, v in tree(folder / "quiet").items() if "motion" not in k}


@pytest.mark.slow
@pytest.mark.parametrize("inner", [False, True])
def test_videos_whose_mount_is_lost_in_the_middle(folder: Path, place: Path, inner: bool) -> None:
    """The whole root, or a folder in it; its place is empty then, and a video that was being decoded breaks off."""
    ids = [f"{'set/' if inner else ''}{n}.mp4" for n in range(6)]
    disk, root = place / "disk", place / "root"
    mounted = root / "set" if inner else root
    disk.mkdir()
    mounted.mkdir(parents=True)
    for n in range(6):
        write_clip(disk / f"{n}.mp4", moving_square(30, 360, 640, seed=n))
    (place / "m.csv").write_text("\n".join(["video_id", *ids]) + "\n")
    if inner:
        shutil.copy(disk / "0.mp4", root / "other.mp4")
    mount("--bind", disk, mounted)
    assert run(encode_command(place, place / "quiet", root=root))[0] == 0
    out = place / "cache"
    job = start(encode_command(place, out, root=root))
    wait_for(lambda: list(out.glob("frames/*.attempt-*")), job)
    with stopped(working(job, "ingest")):
        unmount(mounted)
    code, output = end(job)
    assert code == 1
    assert_told(output, f"{mounted} is empty: is it mounted?", GO_ON)
    assert_nobody_failed(out)
    code, output = run(encode_command(place, out, root=root))
    assert code == 1, "nor is anything marked by a run while it is lost"
    assert_nobody_failed(out)
    mount("--bind", disk, mounted)
    assert run(encode_command(place, out, root=root))[0] == 0
    assert tree(out) == tree(place / "quiet")

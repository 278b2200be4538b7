"""What travels to a bare machine: as many images as fit, and programs without what nothing uses."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2vc.pipeline.flow_fitting.images import read_images
from tests.gpu import pack

ROOM = 120_000


@pytest.fixture
def photographs(tmp_path: Path) -> list[bytes]:
    """2,500 JPEGs in two tar files, and one in validation.tar."""
    rng, files = np.random.default_rng(0), []
    folder = tmp_path / "images"
    folder.mkdir()
    for name, count in (("train-0", 1500), ("train-1", 1000), ("validation", 1)):
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for n in range(count):
                content = io.BytesIO()
                Image.fromarray(np.tile(rng.integers(256, size=(1, 1, 3), dtype=np.uint8), (64, 64, 1))).save(
                    content, "JPEG"
                )
                member = tarfile.TarInfo(f"{n}.JPEG")
                member.size = len(content.getvalue())
                tar.addfile(member, io.BytesIO(content.getvalue()))
                files.append(content.getvalue())
    return files[:-1]


@pytest.mark.parametrize("room", [ROOM, 10_000_000])
def test_images_fill_the_room_and_are_read_as_a_source_of_a_fit(
    photographs: list[bytes], tmp_path: Path, room: int
) -> None:
    packed = tmp_path / "images.tar.xz"
    count = pack.write_images(tmp_path / "images", packed, room)
    assert packed.stat().st_size <= room
    assert count == (2500 if room > ROOM else count) and count % 1000 in (0, 500) and count > 0
    read = read_images(packed, resize=False, seed=0)
    assert len(read) == count and not read.skipped
    last = np.asarray(Image.open(io.BytesIO(photographs[count - 1])).convert("RGB"))
    assert np.array_equal(read.pixels[-1].permute(1, 2, 0).numpy(), last)


def test_what_is_not_used_is_left_out_and_programs_still_run(tmp_path: Path) -> None:
    for name in ("ray/jars/a.jar", "ray/rllib/x.py", "zarr/tests/test_it.py", "zarr/a.pyi", "zarr/core.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "bin").mkdir()
    shutil.copyfile("/bin/true", program := tmp_path / "bin" / "true")
    pack.make_executable(tmp_path)
    pack.trim(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {"zarr/core.py", "bin/true"}
    subprocess.run([program], check=True)


def test_the_same_files_are_packed_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    packed = []
    for time in (1, 2):
        pack.write_tar(out := tmp_path / f"{time}.tar.xz", [("x/a", tmp_path / "a")])
        packed.append(out.read_bytes())
        (tmp_path / "a").touch()
    assert packed[0] == packed[1]
    with tarfile.open(tmp_path / "1.tar.xz") as tar:
        assert tar.getnames() == ["x/a"]


def test_tracked_files_are_counted_by_their_bytes(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("no\n")  # 3 bytes
    (tmp_path / "no").write_bytes(bytes(1000))
    (tmp_path / "ä b").write_bytes(bytes(20))
    assert pack.tracked_bytes(tmp_path) == 23


OTHER_BUILDS = ("opencv-contrib-python-headless",)
"""What is installed here in place of a package of the machine, under the same name of import."""

ALONE = """
import importlib, importlib.abc, pkgutil, re, sys
from importlib.metadata import packages_distributions

allowed, of = set(sys.argv[1].split()), packages_distributions()
canonical = lambda name: re.sub("[-_.]+", "-", name).lower()
foreign = {top for top, names in of.items() if not {canonical(n) for n in names} & allowed}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in foreign - set(sys.argv[2].split()):
            raise ModuleNotFoundError(f"No module named {name!r} on that machine", name=name)

sys.meta_path.insert(0, Refuse())
import s2vc
for name in ("ray", "ray.train.torch", "ray.tune", "kornia.augmentation", "zarr", "ffmpeg", "imageio_ffmpeg"):
    importlib.import_module(name)
for module in pkgutil.walk_packages(s2vc.__path__, "s2vc."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_all_imports_are_packed_or_on_the_machine(tmp_path: Path) -> None:
    for name, text in pack.STUBS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    allowed = " ".join(
        [*pack.MACHINE, *(release.partition("==")[0] for release in pack.RELEASES), "s2vc", *OTHER_BUILDS]
    )
    stubs = " ".join({name.split("/")[0] for name in pack.STUBS})
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", "-c", ALONE, allowed, stubs]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]

"""Pack what a bare GPU machine lacks, as small as it can be, so that it travels there with the sources.

python3 tests/gpu/pack.py FOLDER [--images DIRECTORY] [--mebibytes 64]

The machine is Linux x86-64 without a network. It has CPython 3.12, a CUDA build of PyTorch and the packages of MACHINE,
but no Ray, Zarr, ffmpeg, kornia or pydantic. Written are

FOLDER/site.tar.xz          for `tests/gpu/run OUT.json FOLDER/site.tar.xz`
FOLDER/images.tar.xz        with --images: as many of its images, from its tar files, as may travel beside both
FOLDER/more-images.tar.xz   the same for a second call on the same machine, beside the sources alone

and the sum of tracked files and what goes with them is checked against --mebibytes. The same releases give the same
bytes.
"""

import argparse
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

PYTHON = "3.12"
RELEASES = (
    "ray==2.60.0", "jsonschema==4.26.0", "jsonschema-specifications==2025.9.1", "referencing==0.37.0",
    "rpds-py==2026.9.1", "pydantic==2.14.4", "pydantic-core==2.50.5", "annotated-types==0.8.0",
    "typing-inspection==0.4.5", "typing-extensions==4.16.0", "zarr==3.1.6", "numcodecs==0.17.1", "donfig==0.8.1.post1",
    "google-crc32c==1.9.0", "simplejpeg==1.9.0", "isal==1.9.1", "kornia==0.9.0", "ffmpeg-python==0.2.0",
    "future==1.0.0", "imageio-ffmpeg==0.6.0",
)  # fmt: skip
"""The packages, with what Ray, its Train and pydantic need. This imageio-ffmpeg is less than half as large as later
ones."""
MACHINE = (
    "torch", "numpy", "pandas", "h5py", "scipy", "click", "rich", "pyarrow", "opencv-python-headless", "matplotlib",
    "tensorboard", "pyyaml", "jinja2", "pillow", "safetensors", "fsspec", "psutil", "pytest", "setuptools", "packaging",
    "filelock", "msgpack", "protobuf", "requests", "attrs", "sympy", "networkx", "mpmath", "cloudpickle", "grpcio",
    "python-dateutil", "six", "typing-extensions", "idna", "certifi", "charset-normalizer", "urllib3", "markupsafe",
    "pygments", "mdurl", "markdown-it-py", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing", "absl-py",
    "markdown", "werkzeug", "tensorboard-data-server", "iniconfig", "pluggy", "pip", "triton", "aiohttp", "tqdm",
)  # fmt: skip
"""What is there."""
GLIBC = (28, 27, 26, 24, 17)
"""Wheels for these and older ones are taken; pip takes no range."""

UNUSED = (
    "ray/jars", "ray/rllib", "ray/llm", "ray/cpp", "ray/dashboard/client", "ray/core/libjemalloc.so",
    "ray/tune/examples", "ray/train/examples", "ray/data/examples", "libfuturize", "libpasteurize",
)  # fmt: skip
UNUSED_NAMES = ("*.pyi", "*.pyx", "*.c", "*.h", "tests", "__pycache__")

STUBS = {
    "kornia_rs/__init__.py": '"""Stands in for a library that reads image files, which nothing here does."""\n',
    "kornia_rs/io.py": "",
}
"""kornia imports this library, of 15 MB, as it starts."""

FILTERS = [
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 128 * 2**20},
]
"""Most of it is programs. The dictionary is large since several of them hold the same libraries."""


SPARE = 2**19
"""So many bytes are left free, since whoever counts may count the names of files, too."""
TOGETHER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=Path, help="tar files of images of 64x64, such as the flow is fitted to")
    parser.add_argument("--mebibytes", type=float, default=64, help="so much travels at once")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    site = options.folder / "site.tar.xz"
    if not site.exists():
        with tempfile.TemporaryDirectory() as work:
            write_site(Path(work), site)
    limit = int(options.mebibytes * 2**20)
    tracked = tracked_bytes(Path(__file__).parents[2])
    say("tracked files", tracked)
    say(str(site), site.stat().st_size)
    if options.images:
        for name, beside in (("images.tar.xz", tracked + site.stat().st_size), ("more-images.tar.xz", tracked)):
            packed = options.folder / name
            count = write_images(options.images, packed, limit - beside - SPARE)
            say(f"{packed}, {count} images", packed.stat().st_size)
    images = options.folder / "images.tar.xz"
    total = tracked + site.stat().st_size + (images.stat().st_size if images.exists() else 0)
    say(f"together, of {options.mebibytes:g} MiB", total)
    if total > limit:
        sys.exit("that is too much: leave out images, or more of the packages (UNUSED)")


def say(what: str, size: int) -> None:
    print(f"{what}: {size / 2**20:.2f} MiB")


def tracked_bytes(root: Path) -> int:
    """Count the bytes of the files of a clone that Git tracks, or would: they travel."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return sum((root / name).lstat().st_size for name in names if name)


def write_site(work: Path, packed: Path) -> None:
    """Fetch the packages, leave out what is not used, and write the rest as a tar file for PYTHONPATH."""
    fetch(work / "wheels")
    site = work / "site"
    for wheel in sorted((work / "wheels").glob("*.whl")):
        shutil.unpack_archive(wheel, site, "zip")
    make_executable(site)
    trim(site)
    for name, text in STUBS.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    write_tar(packed, ((str(p.relative_to(site)), p) for p in sorted(site.rglob("*")) if p.is_file()))


def fetch(folder: Path) -> None:
    """Download the wheels for CPython on Linux x86-64."""
    platforms = [f"manylinux_2_{n}_x86_64" for n in GLIBC] + ["manylinux2014_x86_64", "manylinux2010_x86_64", "any"]
    command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    command += ["--python-version", PYTHON, "--implementation", "cp"]
    command += [word for name in platforms for word in ("--platform", name)]
    subprocess.run([*command, *RELEASES], check=True)


def make_executable(site: Path) -> None:
    """Let programs be run, since unpacking a wheel as a zip file loses that."""
    for path in site.rglob("*"):
        if path.is_file() and is_program(path):
            path.chmod(0o755)


def is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def trim(site: Path) -> None:
    """Leave out what nothing here uses, and the symbols of programs, which only debuggers read."""
    found = [site / name for name in UNUSED] + [p for name in UNUSED_NAMES for p in site.rglob(name)]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    programs = [p for p in sorted(site.rglob("*")) if p.is_file() and is_program(p)]
    for path in programs:
        how = "--strip-unneeded" if ".so" in path.name else "--strip-all"
        subprocess.run(["strip", how, str(path)], check=True)


def write_tar(packed: Path, members: Iterable[tuple[str, Path]]) -> None:
    """Write files, by name, as a compressed tar file, without times and owners, so that its bytes are the same."""
    aside = packed.with_name(packed.name + ".part")
    with lzma.open(aside, "wb", filters=FILTERS) as file, tarfile.open(fileobj=file, mode="w|") as tar:
        for name, path in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = path.stat().st_size, 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)
    aside.replace(packed)


def write_images(source: Path, packed: Path, room: int) -> int:
    """Write images of a folder's tar files, from the first on, as one tar file of `room` bytes at most; return how
    many.

    They are compressed by the thousand, so that it is known how many fit. Photographs hardly shrink, but the tables in
    front of each are the same.
    """
    images, count = images_of(source), 0
    end = lzma.compress(bytes(2 * tarfile.BLOCKSIZE))
    with packed.open("wb") as file:
        while part := list(islice(images, TOGETHER)):
            squeezed = lzma.compress(b"".join(as_member(f"{count + n:06}.jpg", image) for n, image in enumerate(part)))
            if file.tell() + len(squeezed) + len(end) > room:
                break
            file.write(squeezed)
            count += len(part)
        file.write(end)
    return count


def as_member(name: str, content: bytes) -> bytes:
    """Return a file as it stands in a tar file."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member.tobuf() + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def images_of(source: Path) -> Iterator[bytes]:
    """Yield the images of a folder's tar files but those named validation, since a flow is judged by them."""
    for path in sorted(source.glob("*.tar")):
        if not path.name.startswith("validation"):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile():
                        yield tar.extractfile(member).read()  # type: ignore[union-attr]


if __name__ == "__main__":
    main()

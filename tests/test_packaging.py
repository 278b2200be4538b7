"""What a release holds, and what an index shows of it; that the wheel works beside packages of the names that ours have
in the repository; what is said where an extra is not installed."""

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import s2vc

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
URL = "https://example.org/owner/s2vc"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sdist and wheel: those that .ci/run has built, or built here in the same way."""
    if "S2VC_DIST" in os.environ:
        return Path(os.environ["S2VC_DIST"])
    out = tmp_path_factory.mktemp("release")
    subprocess.run([sys.executable, ROOT / ".ci" / "release.py", out, "--url", URL], check=True, stdout=subprocess.PIPE)
    return out


@pytest.fixture(scope="module")
def wheel(release: Path) -> Path:
    (built,) = release.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_the_version_stands_in_one_place_and_everywhere(release: Path, metadata: Message) -> None:
    assert metadata["Version"] == s2vc.__version__
    assert (release / f"s2vc-{s2vc.__version__}.tar.gz").exists()
    assert "version =" not in (ROOT / "pyproject.toml").read_text().partition("[project.optional")[0]
    section = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert section and section[1] == s2vc.__version__, "the latest section of the changelog is this version's"
    assert f"\nversion: {s2vc.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_an_index_shows_the_readme_with_its_pictures(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    page, urls = str(metadata.get_payload()), dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert "# s2vc" in page and "Published code of the method" in urls
    if "Repository" not in urls:
        pytest.skip("built without the address of the repository (.ci/release.py --url), so that links are relative")
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert f"{urls['Repository']}/raw/v{s2vc.__version__}/docs/preview.jpg" in targets
    assert f"{urls['Repository']}/blob/v{s2vc.__version__}/docs/training.md" in targets
    assert not [target for target in targets if not target.startswith("https://")]
    assert {"Documentation", "Changelog"} <= urls.keys()


def test_a_repository_s_address_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://forge.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    assert script.find_url() == "https://forge.example/owner/name"


def test_the_source_distribution_holds_files_and_no_links(release: Path) -> None:
    (sdist,) = release.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name.partition("/")[2] for member in members}
    assert {"LICENSE", "README.md", "src/s2vc/pipeline/flow/weights/default.safetensors"} <= names


def test_the_wheel_holds_s2vc_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names} == {"s2vc", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    packaged = {
        f"s2vc/{path.relative_to(ROOT)}"
        for package in ("manifests", "pipeline", "training", "eval", "recipes")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".safetensors", ".html", ".css", ".yaml")
    }
    assert {name for name in names if name.startswith("s2vc/")} == packaged | {"s2vc/__init__.py", "s2vc/py.typed"}


def test_it_works_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    installed, stranger = tmp_path / "installed", tmp_path / "stranger"
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", installed, wheel], check=True)
    for package in ("training", "eval", "manifests"):
        (stranger / package).mkdir(parents=True)
        (stranger / package / "__init__.py").write_text("raise ImportError('a package of somebody else')\n")
    (stranger / "pipeline.py").write_text("raise ImportError('a module of somebody else')\n")

    def run(*arguments: str) -> str:
        env = os.environ | {"PYTHONPATH": str(installed)}
        done = subprocess.run([sys.executable, *arguments], cwd=stranger, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import s2vc.training.clips, s2vc.eval.retrieval; print(s2vc.training.clips.__file__)")
    assert Path(where.strip()) == installed / "s2vc" / "training" / "clips.py"
    recipes = run("-c", "from s2vc.eval.sweep.recipe import read_recipe; print(read_recipe('ucf101').reader)")
    assert recipes.strip() == "ucf101", "recipes are found by their names"
    assert "encode" in run("-m", "s2vc.pipeline.cli", "--help")


@pytest.mark.parametrize(
    ("main", "arguments", "library", "extra"),
    [
        ("s2vc.pipeline.cli:main", ["preview", "CACHE"], "PIL", "eval"),
        ("s2vc.eval.cli:sweep_main", ["CACHE", "--alphas", "0.5"], "kornia", "train"),
        ("s2vc.eval.cli:sweep_main", ["--help"], "yaml", "train"),
    ],
)
def test_a_library_that_is_missing_is_one_line(main: str, arguments: list[str], library: str, extra: str) -> None:
    module, name = main.split(":")
    code = f"import sys; sys.modules[{library!r}] = None; from {module} import {name}; {name}()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    line = f": this needs {library}, which is not installed: pip install 's2vc[{extra}]'\n"
    assert done.returncode == 2 and done.stderr.endswith(line) and done.stderr.count("\n") == 1, done.stderr

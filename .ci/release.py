"""Build what a release holds, the sdist and from it the wheel: python .ci/release.py OUT [--url REPOSITORY]

On a package index the page of README.md has no repository around it, so that links and pictures need whole addresses.
They lead to the repository at the version's tag. REPOSITORY, such as https://github.com/OWNER/NAME, is by default the
one whose CI this is (GitHub's variables say), or git's remote `origin`; without any of them README stays as it is.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILT_FROM = (
    "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
    "src", "manifests", "pipeline", "training", "eval", "recipes",
)  # fmt: skip
BUILD = "import sys, setuptools.build_meta as backend; print(getattr(backend, 'build_' + sys.argv[1])(sys.argv[2]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--url", default=None, help="of the repository")
    given = parser.parse_args()
    url = (find_url() if given.url is None else given.url).rstrip("/")
    if not url:
        print("no repository is known (--url): links and pictures of README stay relative", file=sys.stderr)
    for path in build(given.out.absolute(), url):
        print(path)


def build(out: Path, url: str) -> list[Path]:
    """Build sdist and wheel into a folder. The tree is copied, since a build writes into it."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree, unpacked = Path(folder) / "tree", Path(folder) / "unpacked"
        copy_tree(tree)
        if url:
            name_repository(tree, url, read_version(tree))
        sdist = run_backend("sdist", tree, out)
        with tarfile.open(sdist) as archive:
            archive.extractall(unpacked, filter="data")
        (source,) = unpacked.iterdir()
        return [sdist, run_backend("wheel", source, out)]


def copy_tree(tree: Path) -> None:
    tree.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tree)


def run_backend(what: str, tree: Path, out: Path) -> Path:
    """Have setuptools build, in an interpreter whose folder is the tree; give the file."""
    command = [sys.executable, "-c", BUILD, what, str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the {what} is not built:\n{done.stdout}{done.stderr}")
    return out / done.stdout.splitlines()[-1]


def read_version(tree: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', (tree / "src" / "s2vc" / "__init__.py").read_text(), re.MULTILINE)
    assert found, "src/s2vc/__init__.py has the version"
    return found[1]


def find_url() -> str:
    """Find the address of the repository; empty where none is known."""
    server, repository = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    if server and repository:
        return f"{server}/{repository}"
    asked = subprocess.run(["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True)
    url = re.sub(r"^git@([^:]+):", r"https://\1/", asked.stdout.strip()).removesuffix(".git")
    return url if url.startswith("https://") else ""


def name_repository(tree: Path, url: str, version: str) -> None:
    """Give README's links and pictures whole addresses, and the metadata the addresses of the project."""
    readme, project = tree / "README.md", tree / "pyproject.toml"
    readme.write_text(absolute_links(readme.read_text(encoding="utf-8"), url, version), encoding="utf-8")
    tag = f"{url}/blob/v{version}"
    lines = {"Repository": url, "Documentation": f"{tag}/README.md#documentation", "Changelog": f"{tag}/CHANGELOG.md"}
    added = "".join(f'{name} = "{address}"\n' for name, address in lines.items())
    content, count = re.subn(r"(?m)^(\[project\.urls\].*\n)", lambda match: match[1] + added, project.read_text())
    assert count == 1, "pyproject.toml has [project.urls]"
    project.write_text(content)


def absolute_links(text: str, url: str, version: str) -> str:
    """Make the relative links of a Markdown text absolute: pictures to raw files, others to pages."""

    def whole(match: "re.Match[str]") -> str:
        picture, label, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        return f"{picture}[{label}]({url}/{'raw' if picture else 'blob'}/v{version}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", whole, text)


if __name__ == "__main__":
    main()

"""README and docs: every command exists and runs, every link and every name leads somewhere, and README stays short."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest

from s2vc.manifests.sample import draw_sample
from tests.support.clips import write_clip

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README_BYTES = 8_192

MODULES = {
    "s2vc-prep": "s2vc.pipeline.cli",
    "s2vc-train": "s2vc.training.cli",
    "s2vc-eval": "s2vc.eval.cli",
    "s2vc-sweep": "s2vc.eval.cli.sweep",
}
"""Where the `main` of each command line is."""

RUN: dict[str, list[str]] = {
    "README.md": [],
    "docs/preparing.md": [],
    "docs/training.md": ["docs/preparing.md"],
    "docs/evaluating.md": ["docs/preparing.md", "docs/training.md"],
}
"""The pages whose commands are run, each with those that its reader has gone through before, in the same folder."""

PLACEHOLDERS = {"VIDEOS": "videos", "CACHE": "cache", "CLIPS": "clips", "FRAMES": "frames", "TARS": "tars"}
"""What a reader puts own names for, and what stands for it here: `videos` holds the drawn sample."""

SMALLER = {
    "s2vc-train run": "--epochs 1 --size 32 --batch 4 --loader-workers 0",
    "s2vc-eval retrieval": "--size 32",
    "s2vc-eval linear": "--size 32 --epochs 1 --train-views 1",
    "s2vc-eval finetune": "--size 32 --epochs 1 --batch 4",
    "s2vc-eval order": "--size 32 --epochs 1",
    "s2vc-eval static-bias": "--size 32 --still-epochs 1 --epochs 1 --train-views 1 --batch 4",
    "s2vc-eval saliency": "--size 64 --videos 1",
    "s2vc-eval similarity": "--classes 2 --pairs 4",
    "s2vc-eval normality": "--videos 2 --dims 2",
    "s2vc-sweep": "--alphas 0.5 --seeds 1 --epochs 1 --size 32 --batch 4",
}
"""Options added to a command of the pages, so that it takes seconds. Of an option given twice the last value counts."""

OTHER_PROGRAMS = {"--gres", "--ipc", "--num-cpus", "--num-gpus", "--port", "--shm-size", "--temp-dir"}
"""Options that stand in the text by themselves, and are Slurm's, Ray's and Docker's."""

COMMAND_SECONDS = 1_200


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. line: of its fence, from 1. info: what follows the fence, such as `bash not-run`."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.split()[0] if self.info else ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def split_page(page: Path) -> tuple[list[Block], str]:
    """The fenced blocks of a page, and the text around them."""
    blocks, around, inside = [], [], None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside = (number, line[3:].strip(), [])
            else:
                blocks.append(Block(page, inside[0], inside[1], "\n".join(inside[2])))
                inside = None
        elif inside is None:
            around.append(line)
        else:
            inside[2].append(line)
    assert inside is None, f"{page.name}:{inside[0]}: a block without an end"
    return blocks, "\n".join(around)


def blocks_of(*languages: str) -> Iterator[Block]:
    """The blocks of all pages in one of some languages."""
    for page in PAGES:
        yield from (block for block in split_page(page)[0] if block.language in languages)


def code_spans(page: Path) -> list[str]:
    """What stands between single backticks in a page's text; a span may go on in the next line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", split_page(page)[1])]


def split_commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell text, without comments; `&&`, `;`, `|` and the like part commands."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("();<>|&"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def our_commands(text: str) -> Iterator[list[str]]:
    """Those commands of a text that are this project's."""
    yield from (words for words in split_commands(text) if words and words[0] in MODULES)


def resolve(words: list[str]) -> tuple[str, click.Command, list[str]]:
    """The full name of the command that words call (`s2vc-prep manifest folder`), the command, and its arguments.

    Raises AssertionError where there is no such command.
    """
    name, *rest = words
    command: click.Command = importlib.import_module(MODULES[name]).main
    while isinstance(command, click.Group):
        context = click.Context(command)
        known = command.list_commands(context)
        if name == "s2vc-train" and (not rest or rest[0] not in known):
            rest = ["run", *rest]  # the command that is meant where none is named
        assert rest and rest[0] in known, f"{shlex.join(words)}: {name} has no such command"
        found = command.get_command(context, rest[0])
        assert found is not None
        name, command, rest = f"{name} {rest[0]}", found, rest[1:]
    return name, command, rest


def check_call(words: list[str]) -> None:
    """Assert that a command exists, has these options, and is given all that it requires and nothing more."""
    _, command, arguments = resolve(words)
    try:
        given, left, _ = command.make_parser(click.Context(command)).parse_args(list(arguments))
    except click.UsageError as error:
        raise AssertionError(f"{shlex.join(words)}: {error.format_message()}") from None
    assert not left, f"{shlex.join(words)}: {left} are too many"
    for parameter in command.params:
        value = given.get(parameter.name or "")
        present = isinstance(value, str | list | tuple) and len(value) > 0
        assert present or not parameter.required, f"{shlex.join(words)}: {parameter.name} is missing"


def check_mention(words: list[str]) -> None:
    """Assert that a command that the text names exists, and has the options that it is named with."""
    if words[1:2] in ([], ["manifest"]) or "…" in words[1:2]:  # a whole command line, or a group of commands
        return
    _, command, arguments = resolve(words)
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    unknown = {word for word in arguments if word.startswith("--")} - known
    assert not unknown, f"{shlex.join(words)}: there is no {unknown}"


@cache
def all_options() -> frozenset[str]:
    """Every option of every command of this project."""
    found, waiting = {"--help", "--version"}, [importlib.import_module(module).main for module in MODULES.values()]
    while waiting:
        command = waiting.pop()
        found.update(option for parameter in command.params for option in parameter.opts)
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += [command.get_command(context, name) for name in command.list_commands(context)]
    return frozenset(found)


@cache
def all_subcommands() -> frozenset[str]:
    """The names by which the text may call a command of ours, such as `render`."""
    groups = (importlib.import_module(module).main for module in MODULES.values())
    return frozenset(
        name for group in groups if isinstance(group, click.Group) for name in group.list_commands(click.Context(group))
    )


def heading_anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", split_page(page)[1], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def find_name(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute in one."""
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        parent, _, name = dotted.rpartition(".")
        return bool(parent) and find_name(parent) and hasattr(importlib.import_module(parent), name)
    return True


def imported_names(code: str) -> Iterator[str]:
    """The dotted names that Python code imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def test_readme_begins_with_the_two_commands_that_do_everything_and_the_study() -> None:
    first = split_page(ROOT / "README.md")[0][0]
    assert first.line <= 3
    *both, study = first.text.splitlines()
    assert [line.partition("#")[0].count("&&") for line in both] == [1, 1]
    words = study.partition("#")[0].split()
    assert words[:2] == ["python", "-m"] and words[3:] == ["WORK", "--short"]
    assert (ROOT / words[2].replace(".", "/") / "__main__.py").exists()


def test_every_command_in_a_block_exists_with_its_options() -> None:
    calls = [(block, words) for block in blocks_of("bash") for words in our_commands(block.text)]
    assert len(calls) > 40
    for block, words in calls:
        try:
            check_call(words)
        except AssertionError as error:
            raise AssertionError(f"{block}: {error}") from None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    for span in code_spans(page):
        first = span.split()[0]
        if first.startswith("--") or first in MODULES or first in all_subcommands():
            unknown = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", span)) - all_options() - OTHER_PROGRAMS
            assert not unknown, f"{span}: no command of ours has {unknown}"
        for words in our_commands(span):
            check_mention(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", split_page(page)[1]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        led = page.parent / path if path else page
        assert led.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in heading_anchors(led), f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_modules_in_the_text_are_there(page: Path) -> None:
    blocks, _ = split_page(page)
    for path in re.findall(r"\b(?:manifests|pipeline|training|eval|tests|docs)/[\w/.-]*\w", " ".join(code_spans(page))):
        assert (ROOT / path).exists(), f"{path} is not there"
    shell = "\n".join([*code_spans(page), *(block.text for block in blocks if block.language == "bash")])
    for module in re.findall(r"\btests\.[a-z_.]*[a-z_]", shell):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), f"{module} is not there"


def test_every_name_of_python_blocks_and_of_the_text_imports() -> None:
    names = {name for block in blocks_of("python") for name in imported_names(block.text)}
    names |= {name for page in PAGES for span in code_spans(page) for name in re.findall(r"^s2vc(?:\.\w+)+$", span)}
    assert any(name.startswith("s2vc.") for name in names)
    missing = sorted(name for name in names if not find_name(name))
    assert not missing


def draw_videos(folder: Path) -> None:
    """Videos where the pages have VIDEOS: two classes of the built-in sample, six videos for training, two to test."""
    for video in draw_sample(videos_per_class=4, frames=18, size=(96, 128)):
        if video.label < 2:
            write_clip(folder / PLACEHOLDERS["VIDEOS"] / video.split / video.video_id, video.frames)


def run_words(words: list[str], folder: Path) -> str:
    """Run a command of a page in a folder; what is wrong with it, and the end of what it said, or nothing."""
    if words[0] not in MODULES:
        return f"{words[0]} is not run by this test: mark its block `bash not-run`, with the reason"
    arguments = [PLACEHOLDERS.get(word, word) for word in words[1:]]
    if unknown := [word for word in arguments if re.fullmatch("[A-Z]{3,}", word)]:
        return f"{unknown} stand for something that is not in PLACEHOLDERS"
    ended = subprocess.run(
        [sys.executable, "-m", MODULES[words[0]], *arguments, *SMALLER.get(resolve(words)[0], "").split()],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    return f"ended with {ended.returncode}:\n{ended.stdout[-2000:]}" if ended.returncode else ""


def run_page(page: str, folder: Path) -> list[str]:
    """Run the commands of a page's bash blocks, one after another; those that failed, and why."""
    failed = []
    for block in split_page(ROOT / page)[0]:
        if block.info == "bash":
            for words in filter(None, split_commands(block.text)):
                print(f"{block}: {shlex.join(words)}", flush=True)
                if trouble := run_words(words, folder):
                    failed.append(f"{block}: {shlex.join(words)}: {trouble}")
    return failed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Runs a page after those that go before it, each once: run(page) -> what failed on it."""
    folders: dict[str, Path] = {}
    failed: dict[str, list[str]] = {}

    def run_after(page: str) -> list[str]:
        first = [*RUN[page], page][0]
        if first not in folders:
            folders[first] = tmp_path_factory.mktemp("docs")
            draw_videos(folders[first])
        for each in [*RUN[page], page]:
            if each not in failed:
                failed[each] = run_page(each, folders[first])
        return failed[page]

    return run_after


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_every_command_of_a_page_runs_on_the_sample(page: str, run: Callable[[str], list[str]]) -> None:
    assert not (failed := run(page)), "\n\n".join(failed)

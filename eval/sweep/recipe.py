"""Recipes: files that name the settings of every stage, from the videos to the tables, and the commands they mean."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import click
import yaml

from s2vc.eval.sweep.recipe_options import as_words
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.settings import OWN_CACHE
from s2vc.pipeline.console.cache_options import encode_options

PLACEHOLDERS = {"videos": "VIDEOS", "lists": "LISTS"}
"""These stand in the commands of a dry run for what is not given."""

MODULES = {"s2vc-prep": "s2vc.pipeline.cli", "s2vc-sweep": "s2vc.eval.cli.sweep", "s2vc-eval": "s2vc.eval.cli"}

SECTIONS = ("render", "train", "eval")
"""Each is options of `s2vc-sweep`, for all sweeps of a recipe; a sweep has its own over them."""

PATHS = ("eval-cache", "runs")
"""Relative ones start from the recipe's folder."""

ENCODE: click.Command = encode_options(click.Command("encode"))
"""It has the options that a recipe may give to `s2vc-prep encode`; the others follow from the command line."""

_TOP = {"about", "counts", "manifest", "encode", "cache", "sweeps", *SECTIONS}
_SWEEP = {"about", "runs", *SECTIONS}


@dataclass(frozen=True)
class Counts:
    """Counts the training and test videos of a split, and all frames of a cache, for an estimate before it is there."""

    train: int
    test: int
    frames: int


@dataclass(frozen=True)
class PlannedSweep:
    """Holds a sweep of a recipe: options of `s2vc-sweep` by their names without hyphens in front, paths resolved."""

    name: str
    about: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Holds a recipe. reader, lists: of `s2vc-prep manifest`, and the option that names its lists, if it has any.
    encode: options of `s2vc-prep encode`. cache: the one that is trained on, relative to the recipe's folder. counts:
    of the caches it is about, by the paths that it has for them, for an estimate before these are there."""

    name: str
    about: str
    reader: str
    lists: str
    encode: dict[str, Any]
    cache: str
    sweeps: tuple[PlannedSweep, ...]
    counts: dict[str, Counts] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """Holds a command of ours as a person types it. made: what is there once it has run, for those that do not go on
    by themselves; None for the others."""

    words: tuple[str, ...]
    made: Path | None = None

    @property
    def arguments(self) -> list[str]:
        """Give the command as a process runs it, with this Python."""
        return [sys.executable, "-m", MODULES[self.words[0]], *self.words[1:]]


def recipe_names() -> list[str]:
    """List the recipes that are part of the package."""
    found = resources.files("s2vc.recipes").iterdir()
    return sorted(path.name.removesuffix(".yaml") for path in found if path.name.endswith(".yaml"))


def read_recipe(name: str) -> Recipe:
    """Read a recipe by the path of its file, or by the name of one of the package.

    Raises UserError for a file that is not there, is no YAML, or has keys that no recipe has.
    """
    path = Path(name)
    try:
        if path.is_file() or name not in recipe_names():
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        else:
            content = yaml.safe_load((resources.files("s2vc.recipes") / f"{name}.yaml").read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"there is no recipe {name}: give a file, or one of {', '.join(recipe_names())}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{name} is no YAML: {error}") from None
    try:
        return _recipe(path.stem, content)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{name} is no recipe: {error}") from None


def _recipe(name: str, content: Mapping[str, Any]) -> Recipe:
    _refuse_unknown(content, _TOP, "a recipe")
    manifest = content["manifest"]
    _refuse_unknown(manifest, {"reader", "lists"}, "manifest")
    sweeps = []
    for title, own in content["sweeps"].items():
        _refuse_unknown(own, _SWEEP, f"sweep {title}")
        options = {
            k: v for section in SECTIONS for k, v in {**content.get(section, {}), **own.get(section, {})}.items()
        }
        options |= {"runs": own["runs"]} if "runs" in own else {}
        sweeps.append(PlannedSweep(str(title), str(own.get("about", "")), options))
    counts = {str(path): Counts(**numbers) for path, numbers in content.get("counts", {}).items()}
    cache = str(content.get("cache", OWN_CACHE))
    about, lists = str(content.get("about", "")), str(manifest.get("lists", ""))
    return Recipe(name, about, manifest["reader"], lists, dict(content.get("encode", {})), cache, tuple(sweeps), counts)


def _refuse_unknown(content: Mapping[str, Any], known: set[str], where: str) -> None:
    if wrong := [str(key) for key in content if key not in known]:
        raise TypeError(f"{where} has no {wrong[0]!r}; it has {', '.join(sorted(known))}")


def recipe_commands(
    recipe: Recipe,
    out: Path,
    videos: Path | None,
    lists: Sequence[Path],
    over: Mapping[str, Any],
    sweep_command: click.Command,
) -> list[Command]:
    """List the commands of a recipe, in their order.

    out: the folder that holds one of each recipe. over: options of the sweeps that go over the recipe's.
    sweep_command: that of `s2vc-sweep`, which says how its options are written. Where videos or lists are not given, a
    word stands for them.
    """
    folder = out / recipe.name
    manifest, cache = folder / "videos.csv", folder / OWN_CACHE
    root = str(videos or PLACEHOLDERS["videos"])
    listed = [w for path in lists or [Path(PLACEHOLDERS["lists"])] for w in (recipe.lists, str(path))]
    made = ("s2vc-prep", "manifest", recipe.reader, root, *(listed if recipe.lists else ()), "--out", str(manifest))
    options_of_encode = as_words(recipe.encode, ENCODE)
    encode = ("s2vc-prep", "encode", str(manifest), "--root", root, "--out", str(cache), *options_of_encode)
    commands = [Command(made, manifest), Command(encode)]
    trained_on = path_below(folder, recipe.cache)
    for sweep in recipe.sweeps:
        options = {**sweep.options, **over}
        options = {k: path_below(folder, v) if k in PATHS else v for k, v in options.items()}
        words = as_words({**options, "out": folder / sweep.name}, sweep_command)
        commands.append(Command(("s2vc-sweep", str(trained_on), *words)))
    folders = [str(folder / sweep.name) for sweep in recipe.sweeps]
    commands.append(Command(("s2vc-eval", "report", *folders, "--out", str(folder / "report.html"))))
    return commands


def path_below(folder: Path, path: object) -> Path:
    """Resolve a path of a recipe, `..` included, without asking the disk."""
    parts: list[str] = []
    for part in (folder / str(path)).parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)

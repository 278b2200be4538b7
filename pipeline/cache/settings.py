"""cache.json says what a cache was made with: everything that changes a stored byte, so neither labels nor splits."""

import dataclasses
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from s2vc.manifests.errors import UserError, text_problem
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.quantise import FLOAT16, KINDS
from s2vc.pipeline.storage import files

FORMAT_VERSION = 1
"""This version has latents in float16, and its cache.json does not mention latents."""

OTHER_LATENTS = 2
"""This version differs in `z` alone, and has `latents` in cache.json. A program that knows only version 1 would take z
for float16, so it has to refuse these caches."""

MAX_ROWS = 10_000_000
"""No manifest has more rows; a forged cache.json must not fill the memory."""

SQUEEZE, CROP, SHORT_SIDE = FITS = ("squeeze", "crop", "short-side")
"""How frames of another shape than `frame_size` become such: stretched; scaled to fill it, the rest cut off evenly on
both sides; or with their shorter side scaled to its shorter one, and the longer side cut evenly, or filled with black.
"""

OWN_CACHE = "cache"
"""The demo, the controlled set and recipes have their cache in a folder of this name."""

_OTHER_FOLDERS = {"settings.yaml": "a run", "checkpoint.pt": "a run", "sweep.csv": "a sweep", "results.csv": "results"}
"""These files are in folders that are given in the place of a cache."""

PACKAGES = ("s2vc", "torch", "numpy", "zarr", "h5py", "simplejpeg", "ray")


@dataclass(frozen=True)
class Settings:
    """These are the settings of a cache.

    frame_size: (height, width) of the stored frames, in pixels. segments: the number of manifest rows at the start,
    then of those added at each growth; shards are cut within a segment, so that appended rows become new shards.
    latents: one of cache.quantise.KINDS.
    stream: the index of the stream that is read of each file; None chooses as players do. follow_links: whether links
    that lead out of the videos' root are read. fit: one of FITS.
    """

    frame_size: tuple[int, int]
    jpeg_quality: int
    frame_step: int
    shard_size: int
    flow_name: str
    flow_fingerprint: str
    precision: str
    segments: tuple[int, ...] = ()
    latents: str = FLOAT16
    stream: int | None = None
    follow_links: bool = False
    fit: str = SQUEEZE

    @property
    def rows(self) -> int:
        """The cache is made for this many manifest rows."""
        return sum(self.segments)

    def shards(self) -> list[range]:
        """Return the manifest rows of each shard, in order."""
        shards, start = [], 0
        for rows in self.segments:
            stop = start + rows
            shards += [range(a, min(a + self.shard_size, stop)) for a in range(start, stop, self.shard_size)]
            start = stop
        return shards

    def grown_to(self, rows: int) -> "Settings":
        """Return the settings for a manifest of this many rows, the new ones at its end."""
        if rows <= self.rows:
            return self
        return dataclasses.replace(self, segments=(*self.segments, rows - self.rows))


_OPTIONAL: dict[str, Any] = {"stream": None, "follow_links": False, "fit": SQUEEZE}

_NUMBERS = ("jpeg_quality", "frame_step", "shard_size")

# In messages, these are the users' names for the settings that must not change.
_NAMES = {
    "frame_size": "--size",
    "jpeg_quality": "the JPEG quality",
    "frame_step": "--frame-step",
    "shard_size": "--shard-size",
    "flow_fingerprint": "--flow (another flow)",
    "precision": "--precision",
    "latents": "--latents",
    "stream": "--stream",
    "fit": "--fit",
}


def refuse_other_cache_settings(made_with: Settings, wanted: dict[str, Any], storage: CacheStorage) -> None:
    """Raise UserError if a wanted setting differs from the cache's; None accepts whatever the cache has."""
    for name, value in wanted.items():
        have = getattr(made_with, name)
        if value is not None and value != have:
            raise UserError(
                f"{storage} was made with other settings: {_NAMES[name]} is {_plain(have)} there, "
                f"{_plain(value)} here; use another --out, or the same settings"
            )


def write_settings(storage: CacheStorage, settings: Settings, software: dict[str, str]) -> None:
    made_with = dataclasses.asdict(settings)
    version = OTHER_LATENTS
    if settings.latents == FLOAT16:
        version = FORMAT_VERSION
        del made_with["latents"]
    # These are written where they are used alone, so that other caches have the bytes that they always had.
    for name, default in _OPTIONAL.items():
        if made_with[name] == default:
            del made_with[name]
    files.write_json(storage.layout.settings, {"format_version": version, **made_with, "software": software})
    storage.publish(storage.layout.settings)


def read_settings(storage: CacheStorage) -> Settings:
    """Read cache.json. Raises UserError if there is no cache, or one that this version cannot read."""
    path = storage.fetch(storage.layout.settings)
    try:
        content = files.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise no_cache(storage) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it is no JSON") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version not in (FORMAT_VERSION, OTHER_LATENTS):
        known = f"versions {FORMAT_VERSION} and {OTHER_LATENTS}"
        raise UserError(f"{storage} has a format this version cannot read (it reads {known})")
    if version == FORMAT_VERSION:
        content["latents"] = FLOAT16
    try:
        content = _OPTIONAL | content
        fields = {f.name: content[f.name] for f in dataclasses.fields(Settings)}
        fields["frame_size"] = tuple(fields["frame_size"])
        fields["segments"] = tuple(fields["segments"])
        numbers = [*fields["frame_size"], *fields["segments"], *(fields[n] for n in _NUMBERS)]
        if len(fields["frame_size"]) != 2 or not all(type(n) is int and 0 < n <= MAX_ROWS for n in numbers):
            raise TypeError
        texts = [fields[n] for n in ("flow_name", "flow_fingerprint", "precision")]
        if not all(isinstance(t, str) and not text_problem(t) for t in texts):
            raise TypeError
        if fields["latents"] not in KINDS:
            raise TypeError
        if fields["stream"] is not None and not (type(fields["stream"]) is int and fields["stream"] >= 0):
            raise TypeError
        if not isinstance(fields["follow_links"], bool) or fields["fit"] not in FITS:
            raise TypeError
        return Settings(**fields)
    except (KeyError, TypeError):
        raise UserError(f"{path} is damaged: settings are missing or make no sense") from None


def no_cache(storage: CacheStorage) -> UserError:
    """Return the error for a place without cache.json, which says what is there where that is another thing of ours."""
    missing = f"there is no cache at {storage} (no cache.json)"
    there = storage.names()
    for name, what in _OTHER_FOLDERS.items():
        if name in there:
            return UserError(f"{missing}: it is the folder of {what}, with {name}, which `s2vc-eval report` shows")
    if OWN_CACHE in there and "cache.json" in storage.names(OWN_CACHE):
        return UserError(f"{missing}, but at {storage}/{OWN_CACHE}")
    return UserError(missing)


def read_software(storage: CacheStorage) -> dict[str, str]:
    """Return the software that wrote the cache, by its cache.json; what is no text is left out.

    `read_settings` must have accepted cache.json before.
    """
    written = files.read_json(storage.fetch(storage.layout.settings)).get("software", {})
    pairs = written.items() if isinstance(written, dict) else ()
    return {k: v for k, v in pairs if isinstance(v, str) and not text_problem(k + v)}


def software_versions(ffmpeg: str) -> dict[str, str]:
    """Return the versions of the software that writes the cache; they are for people, and never compared."""
    return {"python": platform.python_version(), "ffmpeg": ffmpeg} | {p: version(p) for p in PACKAGES}


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    text = str(value)
    return text if len(text) < 64 else text[:12]  # the start of a fingerprint is enough to recognise it

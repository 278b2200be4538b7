"""Picture the videos of a cache: originals and variants side by side, as a contact sheet or as an animation."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.cache.layout import ENCODE
from s2vc.pipeline.cache.receipts import OK
from s2vc.pipeline.choices import PREVIEW_COLUMNS, PREVIEW_SECONDS, PREVIEW_VIDEOS, STRATEGIES
from s2vc.pipeline.preview.animation import write_gif, write_mp4
from s2vc.pipeline.preview.contact_sheet import write_png
from s2vc.pipeline.preview.strips import VideoStrips, find_videos, make_strips
from s2vc.pipeline.reporting import ShowProgress, no_progress
from s2vc.pipeline.variants import EXAMPLE_ALPHAS, Variant

STILLS, ANIMATIONS = ".png", (".gif", ".mp4")


def write_preview(
    cache: Cache,
    path: Path,
    video_ids: Sequence[str] = (),
    variants: Sequence[Variant] = (),
    columns: int = PREVIEW_COLUMNS,
    seconds: float = PREVIEW_SECONDS,
    show: ShowProgress = no_progress,
    device: str | None = None,
) -> list[VideoStrips]:
    """Picture videos of a cache: a contact sheet of evenly spaced frames (.png), or an animation (.gif, .mp4).

    video_ids, variants: what to show; without them `choose_videos` and `choose_variants` decide. Variants that are not
    rendered are computed for the frames shown. show: called with the number of videos, shows progress over them.
    device: of the flow, None for the GPU if there is one. Returns what is shown. Raises UserError for ids that are
    unknown or have no frames, for another ending of `path`, and where a file cannot be read or written.
    """
    check_output(path)
    subjects = find_videos(cache, video_ids or choose_videos(cache, columns))
    variants = variants or choose_variants(cache)
    video_strips = []
    with show(len(subjects)) as advance:
        for subject in subjects:
            length = min(subject.frames, math.ceil(seconds * subject.fps))
            numbers = np.arange(length) if _moves(path) else evenly_spaced(subject.frames, columns)
            with damage_as_user_error(subject.video_id, cache.storage):
                video_strips.append(make_strips(cache, subject, numbers, variants, device))
            advance(1, len(numbers))
    with _as_user_error(f"{path} cannot be written"):
        _write(path, video_strips, columns)
    return video_strips


@contextmanager
def _as_user_error(what: str) -> Iterator[None]:
    """Raise UserError, beginning with `what`, where the block cannot write a file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(f"{what}: {getattr(error, 'strerror', None) or error}") from error


def check_output(path: Path) -> None:
    """Raise UserError if a picture could not be written to `path`; call it before anything is computed."""
    if path.suffix.lower() != STILLS and not _moves(path):
        raise UserError(f"{path} ends in neither .png (stills) nor .gif or .mp4 (animation)")
    if path.is_dir():
        raise UserError(f"{path} is a folder")
    with _as_user_error(f"{path} cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)


def _moves(path: Path) -> bool:
    """Return whether a path names an animation."""
    return path.suffix.lower() in ANIMATIONS


def _write(path: Path, video_strips: list[VideoStrips], columns: int) -> None:
    match path.suffix.lower():
        case ".gif":
            write_gif(path, video_strips, columns)
        case ".mp4":
            write_mp4(path, video_strips, columns)
        case _:
            write_png(path, video_strips)


def choose_videos(cache: Cache, frames: int, count: int = PREVIEW_VIDEOS) -> list[str]:
    """Choose up to `count` encoded videos, one of each class, or several if there is only one class; return their ids.

    Of each class the first video with `frames` frames or more is taken, or else the longest; videos that failed in
    part are taken only if there are no others. Raises UserError if no video is encoded.
    """
    index = cache.index
    encoded = cache.storage.finished(ENCODE)
    usable = index[(index["frames"] > 0) & index["shard"].isin(encoded)]
    if usable.empty:
        raise UserError(f"no video of {cache.storage} is encoded; see `s2vc-prep info`")
    usable = usable[usable["status"] == OK] if (usable["status"] == OK).any() else usable
    # The sort is stable: videos that are long enough keep their order, and the longest of the short ones comes next.
    ranked = usable.iloc[np.argsort(-usable["frames"].clip(upper=frames), kind="stable")]
    classes = ranked["class_name"].where(ranked["class_name"] != "", ranked["label"].astype(str))
    chosen = ranked[~classes.duplicated()] if classes.nunique() > 1 else ranked.head(count)
    return list(chosen.sort_index()["video_id"].head(count))


def choose_variants(cache: Cache) -> list[Variant]:
    """Return the rendered variants, `zero` first and alphas rising; without any, `zero` at EXAMPLE_ALPHAS."""
    rendered = cache.variants() or [Variant(alpha=a) for a in EXAMPLE_ALPHAS]

    def order(v: Variant) -> tuple[object, ...]:
        level = (v.alpha is None, v.alpha if v.alpha is not None else v.keep)
        return (STRATEGIES.index(v.strategy), v.rule.clip_length or 0, *level, v.draw, v.name)

    return sorted(rendered, key=order)


def evenly_spaced(frames: int, columns: int) -> np.ndarray:
    """Return the numbers of evenly spaced frames, the first and the last among them, each once.

    The result has shape (n,), int64, with n <= columns.
    """
    return np.unique(np.linspace(0, frames - 1, columns).round().astype(np.int64))

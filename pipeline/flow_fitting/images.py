"""Read the images that a flow is fitted to: from a folder, from tar files, or the small frames of a cache."""

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.frames import read_small
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.reporting import ShowProgress, no_progress

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MOST = 200_000
"""At most this many images are held in memory, 12 kB each; of a larger source this many are drawn at random."""
LARGEST_BYTES = 50_000_000
"""A larger image file is skipped, since it is no photograph."""

Content = Callable[[], bytes]
"""A function of this type reads the bytes of an image's file."""


@dataclass(frozen=True)
class Images:
    """Holds images that were read.

    pixels: (N, 3, 64, 64) uint8 RGB. group: (N,) int64, equal for frames of one video, which are kept together when
    some are held out. skipped: the images that could not be read, each with its reason.
    """

    pixels: Tensor
    group: Tensor
    skipped: list[str]

    def __len__(self) -> int:
        return len(self.pixels)

    def held_out(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return images to train on, and `count` or more others in whole groups drawn by the seed.

        Both have shape (n, 3, 64, 64), uint8.
        """
        groups, sizes = torch.unique(self.group, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(groups))
        enough = int(np.searchsorted(np.cumsum(sizes.numpy()[order]), count)) + 1
        out = torch.isin(self.group, groups[torch.from_numpy(order[:enough])])
        return self.pixels[~out], self.pixels[out]


def read_images(
    source: Path,
    resize: bool,
    seed: int,
    show: ShowProgress = no_progress,
    most: int = MOST,
) -> Images:
    """Read all images of a source, or `most` of them drawn by the seed.

    source: a folder that holds images, or tar files of images, at any depth; a tar file; or a cache, whose small frames
    are read, evenly spaced in each video if there are more than `most`. resize: cut the middle square out of images of
    other sizes and resize it. show: called with the number of images, or of a cache's frames, shows progress. A damaged
    image is skipped and listed. Raises UserError for a source without images, and for an image of another size without
    `resize`.
    """
    if (source / "cache.json").exists():
        return _frames_of(Cache(source), show, most)
    total = sum(1 for _ in _files(source))
    chosen = np.ones(total, bool)
    if total > most:
        chosen[:] = False
        chosen[np.random.default_rng(seed).choice(total, most, replace=False)] = True
    pixels, skipped = np.empty((int(chosen.sum()), SMALL, SMALL, 3), np.uint8), []
    count = 0
    with show(total) as advance:
        for wanted, (name, content) in zip(chosen, _files(source), strict=True):
            if wanted:
                try:
                    pixels[count] = _decoded(content(), resize, name)
                    count += 1
                except (OSError, ValueError, SyntaxError) as error:  # Pillow raises any of these for a damaged image
                    skipped.append(f"{name}: {error}")
            advance(1, 1)
    return Images(_channels_first(pixels[:count]), torch.arange(count), skipped)


def _files(source: Path) -> Iterator[tuple[str, Content]]:
    """Yield name and content of every image file, a folder's in the order of their paths, a tar file's in its order.

    Raises UserError if the source does not exist, has neither images nor tar files, or a tar file cannot be read.
    """
    if source.is_file():
        yield from _members(source)
        return
    if not source.is_dir():
        raise UserError(f"there is no folder, tar file or cache at {source}")
    found = False
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        if path.suffix.lower() == ".tar":
            found = True
            yield from _members(path)
        elif path.suffix.lower() in ENDINGS:
            found = True
            yield str(path.relative_to(source)), partial(_bytes_of_file, path)
    if not found:
        raise UserError(f"{source} holds no images ({', '.join(ENDINGS)}) and no .tar of them")


def _members(path: Path) -> Iterator[tuple[str, Content]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).suffix.lower() in ENDINGS:
                    yield f"{path.name}/{member.name}", partial(_bytes_of_member, archive, member)
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{path} cannot be read as a tar file of images: {error}") from None


def _bytes_of_file(path: Path) -> bytes:
    _refuse_large(path.stat().st_size)
    return path.read_bytes()


def _bytes_of_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _refuse_large(member.size)
    file = archive.extractfile(member)
    return file.read() if file else b""


def _refuse_large(size: int) -> None:
    if size > LARGEST_BYTES:
        raise ValueError(f"its file has {size} bytes")


def _decoded(content: bytes, resize: bool, name: str) -> np.ndarray:
    """Decode an image as RGB (64, 64, 3) uint8. Raises UserError for another size without `resize`."""
    with Image.open(io.BytesIO(content)) as image:
        if image.size != (SMALL, SMALL):
            if not resize:
                raise UserError(
                    f"{name} is {image.width}x{image.height}, not {SMALL}x{SMALL}: give --resize to cut and resize"
                )
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            return np.asarray(image.convert("RGB").crop(box).resize((SMALL, SMALL), Image.Resampling.LANCZOS))
        return np.asarray(image.convert("RGB"))


def _frames_of(cache: Cache, show: ShowProgress, most: int) -> Images:
    """Read the small frames of a cache: all, or, if there are more than `most`, the same share of each video, evenly
    spaced."""
    frames = cache.index["frames"].to_numpy()
    if frames.sum() == 0:
        raise UserError(f"{cache.storage} has no frames: see its index.csv")
    share = min(1.0, most / frames.sum())
    pixels, groups = [], []
    with show(int(frames.sum())) as advance:
        for row, (shard, first, count) in enumerate(cache.index[["shard", "first_frame", "frames"]].to_numpy()):
            taken = int(count * share) or int(count > 0 and share == 1)
            if taken:
                stored = read_small(cache.storage.fetch(cache.layout.small(int(shard))), int(first), int(first + count))
                pixels.append(stored[np.linspace(0, count - 1, taken).round().astype(int)])
                groups.append(np.full(taken, row))
            advance(int(count), int(count))
    return Images(_channels_first(np.concatenate(pixels)), torch.from_numpy(np.concatenate(groups)), [])


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

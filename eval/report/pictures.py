"""Pictures inside the page, as data URIs, up to a total size, each file once."""

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from s2vc.manifests.errors import printable
from s2vc.pipeline.console.progress import size

LIMIT = 20_000_000
"""All pictures of a page take so many bytes at most. What would go beyond is left out, and said to be."""

MEDIA_TYPES = {"PNG": "image/png", "GIF": "image/gif", "JPEG": "image/jpeg"}


@dataclass(frozen=True)
class Picture:
    """Represents a picture as a page shows it. uri: with the whole file in it. width, height: in pixels."""

    uri: str
    width: int
    height: int
    title: str


class Pictures:
    """Gathers what is taken into a page, and sentences on what is left out."""

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.bytes = self.count = 0
        self.left_out: list[str] = []
        self._taken: set[Path] = set()

    def take(self, path: Path, title: str) -> Picture | None:
        """Take a picture file; None where it was taken before, and where it is left out."""
        if path.resolve() in self._taken:
            return None
        self._taken.add(path.resolve())
        try:
            stored = path.stat().st_size
            if self.bytes + stored > self.limit:
                self.left_out.append(
                    f"{_printable_text(path)} ({size(stored)}): pictures would take more than {size(self.limit)}"
                )
                return None
            return self.embed(path.read_bytes(), title)
        except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError) as error:
            # Pillow reports damage by any of these.
            self.left_out.append(f"{_printable_text(path)}: it does not read as a picture ({_printable_text(error)})")
            return None

    def embed(self, content: bytes, title: str) -> Picture:
        """Embed a picture of these bytes. Raises what Pillow raises where they are none that browsers show."""
        with Image.open(BytesIO(content)) as image:
            media, (width, height) = MEDIA_TYPES[str(image.format)], image.size
            image.load()
        self.bytes += len(content)
        self.count += 1
        return Picture(f"data:{media};base64,{base64.b64encode(content).decode()}", width, height, title)


def _printable_text(thing: object) -> str:
    return printable(str(thing))

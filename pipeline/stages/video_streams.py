"""Read which video streams a file has from what ffmpeg says of it, and choose one as players do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

_STREAM = re.compile(r"\[info\]   Stream #0:(\d+)\S*: (Video|Audio|Subtitle|Data|Attachment): (\w+)(?: \((\w+)\))?")
_PICTURE = re.compile(r"\((attached pic|timed thumbnails|still image)\)")


@dataclass(frozen=True)
class Stream:
    """Describes a stream of a file, as far as its header tells.

    index: its number in the file, from 0, as ffprobe counts. kind: "Video", "Audio" and so on. names: those of its
    codec and of ffmpeg's decoder, which stand before the decoder's messages. width, height: in pixels, before any
    rotation; 0 where unknown. fps: frames per second, "25" or "30000/1001"; "" where unknown. default: whether the file
    marks it as the one to play. picture: whether it is a cover or a thumbnail.
    """

    index: int
    kind: str
    names: frozenset[str]
    width: int = 0
    height: int = 0
    fps: str = ""
    default: bool = False
    picture: bool = False


def parse_stream(line: str) -> Stream | None:
    """Return the stream that a line of ffmpeg's description of its input is about, or None."""
    found = _STREAM.match(line)
    if found is None:
        return None
    size = re.search(r", (\d{1,6})x(\d{1,6})", line)
    fps = re.search(r", ([\d.]+k?) fps", line) or re.search(r", ([\d.]+k?) tbr", line)
    return Stream(
        int(found[1]),
        found[2],
        frozenset(name for name in found.groups()[2:] if name),
        int(size[1]) if size else 0,
        int(size[2]) if size else 0,
        frame_rate(fps[1]) if fps else "",
        "(default)" in line,
        _PICTURE.search(line) is not None,
    )


def video_streams(streams: Sequence[Stream]) -> list[Stream]:
    """Return the streams that hold a video: no covers and thumbnails that are marked as such."""
    return [s for s in streams if s.kind == "Video" and not s.picture]


def best_streams(streams: Sequence[Stream]) -> list[Stream]:
    """Return the streams that a player would choose from: those that are marked as default, or all if none is, and of
    these the ones with the most pixels. Where several are left, their numbers of frames decide."""
    videos = video_streams(streams)
    marked = [s for s in videos if s.default] or videos
    most = max((s.width * s.height for s in marked), default=0)
    return [s for s in marked if s.width * s.height == most]


def frame_rate(text: str) -> str:
    """Return the rate that ffmpeg's rounded one stands for: "29.97" -> "30000/1001", "25" -> "25"."""
    rate = Fraction(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return str(ntsc) if rate.denominator > 1 and abs(ntsc - rate) < rate / 2000 else str(rate)

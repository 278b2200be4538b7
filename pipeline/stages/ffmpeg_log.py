"""Read what ffmpeg says while it runs: the streams of its input, and errors, each with the stream that it is about."""

import os
import re
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from s2vc.pipeline.stages.video_streams import Stream, parse_stream

# Every line begins with what wrote it and with its level; whatever a file says of itself comes after that.
_ERROR = re.compile(r"(?:\[[^\]]*\] )*\[(error|fatal|panic)\] ")
_CONTEXT = re.compile(r"\[([^\]@]+) @ 0x[0-9a-f]+\] ")
_NUMBER = re.compile(r"[a-z]ist#0:(\d+)/|\bstream(?: =| #0:|=|)\s?#?(\d+)\b")
_INPUT = "[info] Input #0, "
_MAPPED = re.compile(r"\[info\]   Stream #0:(\d+) -> #0:0 ")
_TILES = re.compile(r"\[info\]   Stream group #0:\S+: Tile Grid")


@dataclass(frozen=True)
class _Error:
    """Holds an error's text and what it is about: the number of a stream, or a codec, by its name.

    probing: whether it came while the streams were looked at, before anything was decoded.
    """

    text: str
    stream: int | None
    source: str
    probing: bool


class FfmpegLog:
    """This collects ffmpeg's messages; a thread drains them, or the child would block on a full pipe.

    streams: those of the input. mapped: the index of the one that is decoded, once it is known. tiles: whether the
    input is a picture made of tiles.
    """

    KEPT = 20
    """So many errors of one kind are kept, and so many kinds."""

    MAX_STREAMS = 100

    def __init__(self, pipe: IO[bytes]):
        self.streams: list[Stream] = []
        self.mapped: int | None = None
        self.tiles = False
        self._errors: list[_Error] = []
        self._kinds: Counter[tuple[int | None, str]] = Counter()
        self._probing = True
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._drain, args=(pipe,), daemon=True)
        self._thread.start()

    def wait_for_header(self, seconds: float) -> bool:
        """Wait until ffmpeg has said what its input is and what it decodes, or has ended; return whether it has."""
        return self._begun.wait(seconds)

    def finish(self) -> None:
        """Wait until ffmpeg has closed its pipe."""
        self._thread.join()

    def errors(self) -> list[str]:
        """Return the first errors, without those of streams that are not decoded, and of chapters."""
        return [e.text for e in self._errors if self._concerns_us(e)][: self.KEPT]

    def _concerns_us(self, error: _Error) -> bool:
        if "chapter" in error.text:
            return False
        if error.stream is not None and self.mapped is not None and "partial file" not in error.text:
            return error.stream == self.mapped
        ours = {name for s in self.streams if s.index == self.mapped for name in s.names}
        others = {name for s in self.streams for name in s.names} - ours
        # What is wrong with our stream is said again when it is decoded; of others there is only this.
        return error.source not in others and not (error.probing and error.source in ours)

    def _drain(self, pipe: IO[bytes]) -> None:
        tail = b""
        with suppress(OSError, ValueError):  # Where the rest does not matter, the pipe is closed under the thread.
            while chunk := os.read(pipe.fileno(), 1 << 16):
                *lines, tail = (tail + chunk).split(b"\n")
                tail = tail[-4096:]
                for line in lines:
                    self._take(line.decode("utf-8", "replace"))
        self._take(tail.decode("utf-8", "replace"))
        self._begun.set()

    def _take(self, line: str) -> None:
        if _ERROR.match(line):
            self._take_error(line)
        elif self._begun.is_set():
            return
        elif mapped := _MAPPED.match(line):
            self.mapped = int(mapped[1])
            self._begun.set()
        elif _TILES.match(line):
            self.tiles = True
        elif line.startswith(_INPUT):
            self._probing = False
        elif len(self.streams) < self.MAX_STREAMS and (stream := parse_stream(line)):
            self.streams.append(stream)

    def _take_error(self, line: str) -> None:
        if "Error opening input file " in line:  # It names the path, which differs from machine to machine.
            return
        # Addresses differ from run to run; receipts must not.
        text = _CONTEXT.sub("", re.sub(r"\[(error|fatal|panic)\] ", "", line, count=1)).strip()
        text = "".join(c if c.isprintable() else "?" for c in text)
        numbers, source = _NUMBER.search(line), _CONTEXT.match(line)
        number = int(numbers[1] or numbers[2]) if numbers else None
        name = source[1].split("/")[-1].removesuffix(" parser").lower() if source else ""
        error = _Error(text, number, name, self._probing)
        kind = (error.stream, error.source)
        if self._kinds[kind] < self.KEPT and (kind in self._kinds or len(self._kinds) < self.KEPT):
            self._kinds[kind] += 1
            self._errors.append(error)

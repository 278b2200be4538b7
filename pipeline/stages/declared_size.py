"""Tell a file that ends before its container says: many decoders read what is there of it, and report no error.

Only lengths of what the file must hold are read, as its format defines them, never numbers of frames, which many
programs write wrongly. Sources: RIFF and OpenDML (Microsoft, Matrox), ISO/IEC 14496-12 (boxes), the ASF specification
(Microsoft), the FLV specification v10.1 (Adobe), RFC 3533 (Ogg), SMPTE 377-1 and 336 (MXF, KLV), the IVF and YUV4MPEG2
descriptions, SMPTE 314M (DV), ISO/IEC 13818-1 (MPEG program and transport streams).
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

TAIL_BYTES = 1 << 17
"""So much of the end of a file is searched for its last packet; none is longer."""


MAX_PARTS = 2_000_000
"""Nobody's file has more boxes, tags or frames; a forged one must not be walked through for hours."""


def missing_end(path: Path) -> str:
    """Say by what a file ends too early, as the end of a sentence; empty where nothing shows it.

    Raises OSError if the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(3 * 192)
        for begins, end_of in _FORMATS:
            if begins.match(start):
                try:
                    declared = end_of(file, size)
                except (struct.error, ValueError, LookupError):
                    return ""
                return f"its container declares {declared:,} bytes, it has {size:,}" if declared > size else ""
    return ""


def _riff_end(file: IO[bytes], size: int) -> int:
    """AVI: chunks RIFF, of 1 GB each at most, one after the other."""
    end = 0
    for _ in range(MAX_PARTS):
        if end >= size:
            break
        file.seek(end)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in (0, 0xFFFFFFFF):  # whoever could not go back wrote no length
            break
        end += 8 + length + length % 2
    return end - 1 if end == size + 1 else end  # Not everybody writes the padding of the last chunk.


def _asf_end(file: IO[bytes], size: int) -> int:
    """WMV: the header object's File Properties give the file's size, unless it was broadcast."""
    file.seek(0)
    header = file.read(TAIL_BYTES)
    at = header.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    (declared,) = struct.unpack_from("<Q", header, at + 40)
    (flags,) = struct.unpack_from("<I", header, at + 88)
    return 0 if flags & 1 else int(declared)


LAST_MS = 250
"""The last tag of a whole FLV begins at most so many milliseconds before its end: the length of a frame, and more."""


def _flv_end(file: IO[bytes], size: int) -> int:
    """FLV: tags, each with its length, behind which the length stands again, of most programs but not of all.

    The first tag may name the file's size and duration. Both may be those of another file, of which it was cut by a
    program; so the size counts where the last tag is not near the duration.
    """
    file.seek(0)
    head = file.read(TAIL_BYTES)
    end, last = 13, 0
    for _ in range(MAX_PARTS):
        if end + 11 > size:
            break
        file.seek(end)
        tag = file.read(8)
        last = int.from_bytes(tag[4:7], "big") + (tag[7] << 24)
        end += 11 + int.from_bytes(tag[1:4], "big") + 4
    if end > size:
        return size if end - 4 == size else end
    if size > end and head[13:] and _byte(file, end) in (8, 9, 18):  # the head of another tag
        return end + 11
    declared, duration = _flv_number(head, b"filesize"), _flv_number(head, b"duration")
    return int(declared) if 1000 * duration - last > LAST_MS else 0


def _flv_number(head: bytes, name: bytes) -> float:
    """Return a number of the file's description, 0 where it is not there or makes no sense."""
    found = re.search(name + rb"\x00(.{8})", head, re.DOTALL)
    value = struct.unpack(">d", found[1])[0] if found else 0.0
    return float(value) if 0 < value < 2**53 else 0.0


def _byte(file: IO[bytes], at: int) -> int:
    file.seek(at)
    return file.read(1)[0]


def _boxes_end(file: IO[bytes], size: int) -> int:
    """MP4 and MOV: boxes, one after the other, each with its length and a name of four characters."""
    end = 0
    for _ in range(MAX_PARTS):
        if end + 8 > size:
            return end
        file.seek(end)
        length, name, longer = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        length = longer if length == 1 else length
        # A length of 0 takes the rest of the file; what is shorter than its head, or has no name, is no box.
        if length < 8 or not re.fullmatch(rb"[A-Za-z0-9 \xa9-]{4}", name):
            return 0
        end += length
    return 0


def _ogg_end(file: IO[bytes], size: int) -> int:
    """Ogg: pages, whose header has the lengths of their segments."""
    tail, start = _tail(file, size)
    at = tail.rindex(b"OggS\x00")
    if len(tail) < at + 27:
        return start + at + 27
    segments = tail[26 + at]
    return start + at + 27 + segments + sum(tail[at + 27 : at + 27 + segments])


def _mxf_end(file: IO[bytes], size: int) -> int:
    """MXF: the header partition says where the footer begins; what is behind it is not looked at."""
    file.seek(0)
    pack = file.read(20 + 64)
    at = 20 if pack[16] == 0x83 else 17  # The length of the pack itself takes 4 bytes, or 1.
    (footer,) = struct.unpack_from(">Q", pack, at + 24)
    return int(footer) + 1 if footer else 0


def _ivf_end(file: IO[bytes], size: int) -> int:
    """IVF: a header, then frames with their lengths."""
    file.seek(6)
    (end,) = struct.unpack("<H", file.read(2))
    for _ in range(MAX_PARTS):
        if end >= size:
            return int(end)
        file.seek(end)
        length = file.read(4)
        end += 12 + (struct.unpack("<I", length)[0] if len(length) == 4 else 0)
    return 0


_CHROMA = {"420": (2, 2), "422": (2, 1), "411": (4, 1), "440": (1, 2), "444": (1, 1)}
"""By the beginning of YUV4MPEG2's name of a colour space: luma samples across and down for each of chroma."""


def _y4m_end(file: IO[bytes], size: int) -> int:
    """YUV4MPEG2: a line, then frames of one length, each after a line."""
    file.seek(0)
    line = file.readline(1024)
    words = {word[:1]: word[1:].decode() for word in line.split()[1:]}
    width, height, colours = int(words[b"W"]), int(words[b"H"]), words.get(b"C", "420")
    samples = width * height
    if not colours.startswith("mono"):
        across, down = _CHROMA[colours[:3]]
        samples += 2 * -(-width // across) * -(-height // down)
    deep = re.search(r"(?:p|mono)(\d+)$", colours)
    frame = samples * (2 if deep and int(deep[1]) > 8 else 1) + ("alpha" in colours) * width * height
    end = len(line)
    for _ in range(MAX_PARTS):
        if end >= size:
            return end
        file.seek(end)
        head = file.readline(1024)
        if frame <= 0 or not head.startswith(b"FRAME"[: size - end]):
            return 0
        end += len(head) + frame
    return 0


def _dv_end(file: IO[bytes], size: int) -> int:
    """DV: frames of one length, by the bit of its first byte that says 50 Hz."""
    file.seek(3)
    frame = 144_000 if file.read(1)[0] & 0x80 else 120_000
    return -(-size // frame) * frame


def _program_stream_end(file: IO[bytes], size: int) -> int:
    """MPEG program streams: packs and packets with their lengths, walked through from a pack near the end."""
    tail, start = _tail(file, size)
    at = tail.index(b"\x00\x00\x01\xba")
    while at + 4 <= len(tail) and tail[at : at + 3] == b"\x00\x00\x01":
        kind = tail[at + 3]
        if kind == 0xBA:  # A pack's header takes 12 bytes in MPEG-1, and in MPEG-2 14 and what it stuffs.
            at += 12 if tail[at + 4] >> 4 == 2 else 14 + (tail[at + 13] & 7)
        elif kind >= 0xBB:
            at += 6 + struct.unpack_from(">H", tail, at + 4)[0]
        else:  # 0xB9 is the end of the stream
            at += 4
    return start + at


def _transport_stream_end(file: IO[bytes], size: int) -> int:
    """MPEG transport streams: packets of 188 bytes, on Blu-rays of 192, whose last 188 begin with 0x47."""
    packet = 188 if _byte(file, 0) == 0x47 else 192
    whole = size // packet * packet
    sync = whole + packet - 188
    return whole + packet if sync < size and _byte(file, sync) == 0x47 else 0


def _tail(file: IO[bytes], size: int) -> tuple[bytes, int]:
    """Return the end of a file, and where it begins."""
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    return file.read(), start


_FORMATS: tuple[tuple["re.Pattern[bytes]", Callable[[IO[bytes], int], int]], ...] = tuple(
    (re.compile(begins, re.DOTALL), end_of)
    for begins, end_of in (
        (rb"RIFF....AVI ", _riff_end),
        (rb"....(?:ftyp|moov|mdat|wide|free|skip|pnot)", _boxes_end),
        (bytes.fromhex("3026b2758e66cf11"), _asf_end),
        (rb"FLV\x01", _flv_end),
        (rb"OggS\x00", _ogg_end),
        (rb"\x06\x0e\x2b\x34\x02\x05\x01", _mxf_end),
        (rb"DKIF", _ivf_end),
        (rb"YUV4MPEG2 ", _y4m_end),
        (rb"\x1f\x07\x00", _dv_end),
        (rb"\x00\x00\x01\xba", _program_stream_end),
        (rb"\x47.{187}\x47.{187}\x47|....\x47.{191}\x47.{191}\x47", _transport_stream_end),
    )
)

"""The size of the pictures that an ONNX network is made for, read from the file.

OpenCV does not tell it, and runs a network on pictures of another size, with a warning and with wrong numbers. Numbers
of fields are those of onnx.proto; a protocol buffer is a list of numbered fields, of which some hold such lists.
"""

from collections.abc import Iterator
from pathlib import Path

GRAPH, GRAPH_INPUT, VALUE_TYPE, TENSOR, SHAPE, DIMENSION, DIMENSION_VALUE = 7, 11, 2, 1, 2, 1, 1

COLOURS = 3


def picture_size(path: Path) -> tuple[int, int] | None:
    """Read height and width of the pictures (1, 3, H, W) that a network takes; None where it takes any, and where the
    file does not say. Raises ValueError for a file that is no protocol buffer."""
    for graph in _parts(memoryview(path.read_bytes()), GRAPH):
        for value in _parts(graph, GRAPH_INPUT):
            dimensions = [
                next((size for number, size in _fields(one) if number == DIMENSION_VALUE and isinstance(size, int)), 0)
                for kind in _parts(value, VALUE_TYPE)
                for tensor in _parts(kind, TENSOR)
                for shape in _parts(tensor, SHAPE)
                for one in _parts(shape, DIMENSION)
            ]
            if len(dimensions) == 4 and dimensions[1] == COLOURS:
                return (dimensions[2], dimensions[3]) if all(dimensions[2:]) else None
    return None


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Give the contents of the fields of a number that hold bytes."""
    for number, content in _fields(message):
        if number == wanted and isinstance(content, memoryview):
            yield content


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Go through a message: the number of each field, and its value, a whole number or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("it is no protocol buffer")
        if at + length > len(message):
            raise ValueError("it ends early")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; and where the next field begins."""
    value = 0
    for place in range(10):
        if at + place >= len(message):
            raise ValueError("it ends early")
        value |= (message[at + place] & 127) << 7 * place
        if message[at + place] < 128:
            return value, at + place + 1
    raise ValueError("it is no protocol buffer")

"""A tiny ONNX network that finds what is red, with the outputs of YOLOs, written byte by byte: onnx is no dependency.

The fields and their numbers are those of onnx.proto.
"""

from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7
INT, INTS = 2, 7  # of attributes

CELL = 8
"""Every cell of so many pixels a side has a box of its own size."""


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: np.ndarray) -> bytes:
    kind = FLOAT if values.dtype == np.float32 else INT64
    dims = b"".join(_field(1, n) for n in values.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, values.tobytes())


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, n)) for n in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))


def _node(kind: str, inputs: list[str], output: str, **attributes: list[int]) -> bytes:
    parts = [_field(1, name) for name in inputs] + [_field(2, output), _field(3, output), _field(4, kind)]
    for name, numbers in attributes.items():
        content = _field(1, name) + b"".join(_field(8, n) for n in numbers) + _field(20, INTS)
        parts.append(_field(5, content))
    return b"".join(parts)


def write_red_finder(path: Path, size: int, version: int, classes: int = 3) -> None:
    """Write a network for squares of `size` pixels whose first class is as likely as a cell is red and not green.

    version: 5 for outputs (1, N, 5 + classes), 8 for (1, 4 + classes, N), where N is the number of cells.
    """
    side = size // CELL
    channels = 4 + classes + (version == 5)
    score = 4 + (version == 5)
    weight = np.zeros((channels, 3, CELL, CELL), np.float32)
    weight[score, 0], weight[score, 1] = 1 / CELL**2, -1 / CELL**2
    places = np.zeros((1, channels, side, side), np.float32)
    centres = (np.arange(side) + 0.5) * CELL
    places[0, 0], places[0, 1], places[0, 2:4] = centres[None], centres[:, None], CELL
    places[0, 4] += version == 5  # objectness
    places[0, -1] = 0.9  # the last class is likely everywhere, and no person
    nodes = [
        _node("Conv", ["image", "weight"], "red", kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        _node("Add", ["red", "places"], "cells"),
        _node("Reshape", ["cells", "shape"], "output" if version == 8 else "rows"),
    ]
    shape: tuple[int, ...] = (1, channels, side * side)
    if version == 5:
        nodes.append(_node("Transpose", ["rows"], "output", perm=[0, 2, 1]))
    initial = {"weight": weight, "places": places, "shape": np.array(shape, np.int64)}
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "red")
    graph += b"".join(_field(5, _tensor(name, values)) for name, values in initial.items())
    output = shape if version == 8 else (1, side * side, channels)
    graph += _field(11, _value("image", (1, 3, size, size))) + _field(12, _value("output", output))
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13)))

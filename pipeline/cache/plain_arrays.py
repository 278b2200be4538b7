"""Arrays of latents on this machine, read as plain files: through Zarr's event loop each takes ten times as long.

Only an array that is described as `latents.LatentWriter` describes it is read here; Zarr is asked about all others.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.files import Malformed

CRC_BYTES = 4
"""A chunk ends with a checksum of this many bytes, CRC-32C."""

_BYTES, _CRC = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}

_PACKED = [
    {"name": "transpose", "configuration": {"order": [1, 0]}},
    {"name": "bytes"},
    {"name": "zstd", "configuration": {"level": 6, "checksum": False}},
    _CRC,
]


class Form(NamedTuple):
    """Holds in what the arrays of one name differ: how many rows there are, and the type of a value."""

    rows: int
    dtype: str


def form_of(array: Path, describe: Callable[[Form], dict[str, Any]], most: int) -> Form | None:
    """Return the form of the array in a folder; None if its zarr.json is not what `describe` gives for that form.

    most: a zarr.json of more bytes is not read. Raises FileNotFoundError if there is none.
    """
    try:
        content = json.loads(files.read_text(array / "zarr.json", most))
        form = Form(content["shape"][0], content["data_type"])
        # As texts they are compared strictly: for Python 16, 16.0 and, at times, True are equal.
        same = type(form.rows) is int and form.rows >= 0 and json.dumps(content) == json.dumps(describe(form))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return form if same else None


def whole_array(form: Form, columns: Sequence[int]) -> dict[str, Any]:
    """Return the zarr.json of an array (rows, *columns) that is one chunk."""
    return _array(form, columns, max(form.rows, 1), [_BYTES, _CRC])


def sharded_array(form: Form, columns: Sequence[int], chunk_rows: int, shard_rows: int) -> dict[str, Any]:
    """Return the zarr.json of an array (rows, *columns) in chunks of so many rows, and zarr-shards of so many.

    Whole numbers of 8 bits are packed.
    """
    codecs = _PACKED if form.dtype == "int8" else [_BYTES, _CRC]
    shards = {"chunk_shape": [chunk_rows, *columns], "codecs": codecs, "index_codecs": [_BYTES, _CRC]}
    return _array(
        form,
        columns,
        shard_rows,
        [{"name": "sharding_indexed", "configuration": {**shards, "index_location": "end"}}],
    )


def _array(form: Form, columns: Sequence[int], rows_a_file: int, codecs: list[Any]) -> dict[str, Any]:
    return {
        "shape": [form.rows, *columns],
        "data_type": form.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows_a_file, *columns]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if form.dtype.startswith("int") else 0.0,
        "codecs": codecs,
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def read_chunk(path: Path, size: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array that is stored in one chunk file of so many bytes, not compressed.

    Raises Malformed if the size is not that of such a chunk, or the checksum is not that of the bytes.
    """
    expected = math.prod(shape) * np.dtype(dtype).itemsize + CRC_BYTES
    if size != expected:
        raise Malformed(f"{path} has {size} bytes, {expected} are expected")
    content = np.fromfile(path, np.uint8)
    values, stored = content[:-CRC_BYTES], content[-CRC_BYTES:].tobytes()
    values.flags.writeable = False  # google_crc32c takes nothing that may change meanwhile
    if google_crc32c.value(values) != int.from_bytes(stored, "little"):
        raise Malformed(f"{path} is damaged: its checksum is another one")
    values.flags.writeable = True
    return values.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)

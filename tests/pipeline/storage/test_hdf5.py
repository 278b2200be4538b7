"""Shards in HDF5: rows unpacked by another library are HDF5's own, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest

from s2vc.pipeline.storage.hdf5 import read_array, read_dataset, read_gzipped_rows, write_shard

ROWS = 37


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(-9, 9, (ROWS, 4, 5), dtype=np.int8)
    with write_shard(tmp_path / "shard.h5") as file:
        file.growing("values", (4, 5), np.int8, 8, compress=True).append(values)
        file.put("whole", np.arange(7))
    return tmp_path / "shard.h5"


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (3, 5), (0, ROWS), (7, 33), (32, ROWS), (36, 37)])
def test_gzipped_rows_are_those_that_hdf5_reads(shard: Path, start: int, stop: int) -> None:
    expected = read_dataset(shard, "values")[start:stop]
    rows = read_gzipped_rows(shard, "values", start, stop)
    assert rows.dtype == expected.dtype
    np.testing.assert_array_equal(rows, expected)


def test_a_flipped_bit_in_a_chunk_is_noticed(shard: Path) -> None:
    offset = read_dataset(shard, "values").id.get_chunk_info(1).byte_offset
    for position in (0, 5, 20):
        content = bytearray(shard.read_bytes())
        content[offset + position] ^= 4
        broken = shard.with_name(f"broken{position}.h5")
        broken.write_bytes(content)
        read_gzipped_rows(broken, "values", 0, 8)  # the chunk before it is whole
        with pytest.raises(OSError, match="chunk of values is damaged"):
            read_gzipped_rows(broken, "values", 8, 16)


def test_a_replaced_shard_is_read_anew(shard: Path) -> None:
    assert read_array(shard, "whole").tolist() == list(range(7))
    with write_shard(shard) as file:
        file.put("whole", np.arange(3))
    assert read_array(shard, "whole").tolist() == [0, 1, 2]

"""The bounded folder of copies: what is in it is whole, it keeps to its limit, and processes may share it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage.local_objects import LEASES, DamagedObject, LocalObjects

SIZE = 100_000
COUNT = 12


@pytest.fixture
def store(tmp_path: Path) -> dict[str, Path]:
    """Twelve objects of 100 kB somewhere else, by their SHA-256."""
    rng = np.random.default_rng(0)
    objects = {}
    for number in range(COUNT):
        path = tmp_path / "store" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.bytes(SIZE))
        objects[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    return objects


class Reader:
    """Asks for objects, and counts those that had to be fetched."""

    def __init__(self, folder: Path, limit: int, store: dict[str, Path]):
        self.objects, self.store, self.fetched = LocalObjects(folder, limit), store, 0

    def read(self, digest: str) -> bytes:
        def fetch(path: Path) -> None:
            self.fetched += 1
            path.write_bytes(self.store[digest].read_bytes())

        return self.objects.get(digest, lambda: SIZE, fetch).read_bytes()


def kept(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "objects"))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, store: dict[str, Path]) -> None:
    reader, digests = Reader(tmp_path / "local", 6 * SIZE, store), list(store)
    for digest in digests[:6]:
        reader.read(digest)
    reader.objects.release()
    reader.read(digests[0])
    for digest in digests[6:9]:
        reader.read(digest)
    assert kept(tmp_path / "local") == sorted([digests[0], *digests[4:9]])
    assert reader.fetched == 9
    reader.read(digests[0])
    assert reader.fetched == 9


def test_what_a_process_is_about_to_open_is_not_dropped(tmp_path: Path, store: dict[str, Path]) -> None:
    """Though another process needs the room: the limit is passed by that much, until it is given up."""
    digests = list(store)
    first, second = (Reader(tmp_path / "local", 3 * SIZE, store) for _ in range(2))
    for digest in digests[:LEASES]:
        first.read(digest)
    for digest in digests[LEASES:]:
        second.read(digest)
    assert set(digests[:LEASES]) <= set(kept(tmp_path / "local"))
    assert len(kept(tmp_path / "local")) == 2 * LEASES
    first.objects.release()
    second.objects.release()
    second.read(digests[LEASES])
    assert len(kept(tmp_path / "local")) == 3


def test_leases_go_with_the_one_who_holds_them(tmp_path: Path, store: dict[str, Path]) -> None:
    """Or a process that opens one cache after another would fill the disk with what it cannot drop."""
    digests, held = list(store), len(os.listdir("/proc/self/fd"))
    for digest in digests:
        Reader(tmp_path / "local", 2 * SIZE, store).read(digest)
    assert len(os.listdir("/proc/self/fd")) == held
    assert kept(tmp_path / "local") == sorted(digests[-2:])


def test_damage_on_the_way_is_refused_and_leaves_nothing(tmp_path: Path, store: dict[str, Path]) -> None:
    digest, path = next(iter(store.items()))
    path.write_bytes(b"other")
    with pytest.raises(DamagedObject, match=digest):
        Reader(tmp_path / "local", 3 * SIZE, store).read(digest)
    assert kept(tmp_path / "local") == []


def test_an_object_larger_than_the_limit_is_a_mistake_of_the_users(tmp_path: Path, store: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="--local-cache-size must be larger"):
        Reader(tmp_path / "local", SIZE - 1, store).read(next(iter(store)))


def test_what_is_larger_than_the_limit_is_not_kept_and_drops_nothing(tmp_path: Path, store: dict[str, Path]) -> None:
    """A file of a job's own, which would be kept for the next stage."""
    reader, digests = Reader(tmp_path / "local", 3 * SIZE, store), list(store)
    for digest in digests[:3]:
        reader.read(digest)
    reader.objects.release()
    (tmp_path / "made").write_bytes(bytes(4 * SIZE))
    reader.objects.adopt(tmp_path / "made", "0" * 64)
    assert kept(tmp_path / "local") == sorted(digests[:3])


READS = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from tests.pipeline.storage.test_local_objects import Reader, bytes_kept
folder, limit, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = {k: Path(v) for k, v in json.loads(sys.argv[4]).items()}
reader, rng = Reader(folder, limit, store), np.random.default_rng(seed)
most = 0
print("begun", flush=True)
for _ in range(600):
    digest = list(store)[rng.integers(len(store))]
    assert hashlib.sha256(reader.read(digest)).hexdigest() == digest
    most = max(most, bytes_kept(folder))
print(reader.fetched, most)
"""


def bytes_kept(folder: Path) -> int:
    """Of the objects there are at this moment."""
    total = 0
    for entry in os.scandir(folder / "objects"):
        with suppress(FileNotFoundError):
            total += 0 if "." in entry.name else entry.stat().st_size
    return total


def reading(folder: Path, limit: int, seed: int, store: dict[str, Path]) -> "subprocess.Popen[str]":
    where = json.dumps({k: str(v) for k, v in store.items()})
    command = [sys.executable, "-c", READS, str(folder), str(limit), str(seed), where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def test_several_processes_share_it(tmp_path: Path, store: dict[str, Path]) -> None:
    """Four read at random what does not all go in, one of which is killed in the middle, again and again."""
    folder, limit = tmp_path / "local", 6 * SIZE
    victims = [reading(folder, limit, seed, store) for seed in range(10, 14)]
    readers = [reading(folder, limit, seed, store) for seed in range(3)]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        time.sleep(0.1)
    for process in readers:
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 0, "every object was whole whenever it was read"
        fetched, most = map(int, output.split())
        assert fetched < 600, "others' copies, and those of before, were used"
        assert most <= limit + 7 * LEASES * SIZE
    Reader(folder, limit, store).read(next(iter(store)))
    assert bytes_kept(folder) <= limit
    assert all(hashlib.sha256((folder / "objects" / name).read_bytes()).hexdigest() == name for name in kept(folder))

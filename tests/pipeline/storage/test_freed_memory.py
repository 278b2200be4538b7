"""Memory that is freed is kept: after the first round, requests of the same sizes cost no page faults."""

import subprocess
import sys

import pytest

ROUNDS = """
import ctypes, resource, sys
from s2vc.pipeline.storage.freed_memory import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def round_():
    held = [libc.malloc(16 << 20) for _ in range(2)]
    for place in held:
        ctypes.memset(place, 1, 16 << 20)
    for place in held:
        libc.free(place)

if sys.argv[1] == "kept":
    keep_freed_memory()
round_()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    round_()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ROUNDS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's")
def test_freed_memory_is_not_given_back() -> None:
    given_back = faults("given back")
    if given_back < 1000:
        pytest.skip("this C library keeps it by itself")
    assert faults("kept") < given_back / 10

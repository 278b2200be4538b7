"""Start processes that work for this one and end with it."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from s2vc.manifests.errors import Stopped
from s2vc.pipeline.stages.ffmpeg_process import die_with_parent


@contextmanager
def process_pool(count: int, killed: str) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of `count` processes, which are gone when the block ends; what has not begun then is not done.

    killed: a sentence. Raises Stopped with it if a process was killed.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads of this process hold
    with ProcessPoolExecutor(count, context, _begin_worker) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise Stopped(killed) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C and ends its workers
    die_with_parent()

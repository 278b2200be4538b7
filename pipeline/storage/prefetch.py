"""Threads read the next steps and write the last ones while the computation runs, a bounded number of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

DEPTH = 2
"""This many steps may wait to be computed, and as many to be written; that bounds the memory."""


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield the same items, which a thread makes up to DEPTH items before they are asked for."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Any]] = deque(thread.submit(next, iterator, end) for _ in range(DEPTH))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item


@contextmanager
def write_behind() -> Iterator[Callable[..., None]]:
    """Yield a function submit(f, *args) that calls f in a thread, in order.

    When the block ends, all calls are done. An error of a call is raised by a later submit, or at the end of the block.
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1) as thread:

        def submit(function: Callable[..., None], *args: Any) -> None:
            while len(waiting) >= DEPTH:
                waiting.popleft().result()
            waiting.append(thread.submit(function, *args))

        yield submit
        while waiting:
            waiting.popleft().result()

"""Reading and writing beside the computation, a bounded number of steps ahead and behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

DEPTH = 2
"""Steps that may wait on either side; memory is bounded by it."""


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """The same items, made by a thread up to DEPTH items before they are asked for."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Any]] = deque(thread.submit(next, iterator, end) for _ in range(DEPTH))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item


@contextmanager
def write_behind() -> Iterator[Callable[..., None]]:
    """A function submit(f, *args) that calls f in a thread, in order; when the block ends all is done or has raised."""
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1) as thread:

        def submit(function: Callable[..., None], *args: Any) -> None:
            while len(waiting) >= DEPTH:
                waiting.popleft().result()
            waiting.append(thread.submit(function, *args))

        yield submit
        while waiting:
            waiting.popleft().result()

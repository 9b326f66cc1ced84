"""Steps that run side by side: each in a thread of its own, with bounded queues between them.

The order of items, and so every result, is that of a plain loop; memory is bounded by the queues. Threads are enough,
because decoders, encoders, image operations and networks all release Python's lock.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event
from typing import Any, TypeVar

Item = TypeVar("Item")

POLL_INTERVAL = 0.1
"""How long a thread waits for a queue before it looks whether it should stop, s."""

_END = object()


class Stopped(Exception):
    """Raised inside a worker that waits for items, because another part of the pipeline failed."""


def prefetch(items: Iterable[Item], buffer_size: int) -> Generator[Item, None, None]:
    """The same items, made in a thread of its own while the consumer is busy with earlier ones.

    Args:
        items: iterated in the thread; what it raises is raised here, after the items before it.
        buffer_size: how many finished items may wait, at least 1.
    """
    queue: Queue[Any] = Queue(buffer_size)
    stop = Event()

    def make() -> None:
        """Put all items into the queue."""
        try:
            for item in items:
                if not _put(queue, item, stop.is_set):
                    return
        finally:
            if hasattr(items, "close"):
                items.close()
            _put(queue, _END, stop.is_set)

    with ThreadPoolExecutor(1, "reenact-prefetch") as pool:
        made = pool.submit(make)
        try:
            while (item := queue.get()) is not _END:
                yield item
            made.result()
        finally:
            stop.set()


@contextmanager
def fan_out(workers: Sequence[Callable[[Iterator[Item]], None]], buffer_size: int) -> Iterator[Callable[[Item], None]]:
    """Give every item to several workers, each in a thread of its own.

    Args:
        workers: functions that iterate over all items. When anything fails, their iterators raise `Stopped`, so that
            they can clean up.
        buffer_size: how many items may wait for each worker, at least 1.

    Yields:
        A function that gives one item to all workers; it waits while a queue is full, and raises what a worker raised.
    """
    queues: list[Queue[Any]] = [Queue(buffer_size) for _ in workers]
    stop = Event()
    with ThreadPoolExecutor(len(workers), "reenact-worker") as pool:
        done = [pool.submit(worker, _taken(queue, stop)) for worker, queue in zip(workers, queues, strict=True)]

        def give(item: object) -> None:
            """Put one item into every queue."""
            for queue, future in zip(queues, done, strict=True):
                if not _put(queue, item, future.done):
                    _raise(future)

        try:
            yield give
            give(_END)
            for future in done:
                future.result()
        finally:
            stop.set()


def _put(queue: Queue[Any], item: object, given_up: Callable[[], bool]) -> bool:
    """Put an item into a queue as soon as there is room; False if nobody will ever take it."""
    while not given_up():
        try:
            queue.put(item, timeout=POLL_INTERVAL)
            return True
        except Full:
            continue
    return False


def _taken(queue: Queue[Any], stop: Event) -> Iterator[Any]:
    while True:
        try:
            item = queue.get(timeout=POLL_INTERVAL)
        except Empty:
            if stop.is_set():
                raise Stopped("another part of the pipeline failed") from None
            continue
        if item is _END:
            return
        yield item


def _raise(future: Future[None]) -> None:
    """Raise what a worker raised that stopped taking items."""
    future.result()
    raise RuntimeError("a worker of the pipeline ended before its items did")

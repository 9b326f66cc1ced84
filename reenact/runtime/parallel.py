"""Doing one thing to many items in threads, with results in order and little of it in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import Generic, TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")
Tool = TypeVar("Tool")


def cpu_threads(threads: int) -> int:
    """Number of threads for a setting in which 0 stands for one a core that this process may use."""
    if threads > 0:
        return threads
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter; items are taken only as lists are asked for."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


@contextmanager
def opencv_in_one_thread() -> Iterator[None]:
    """Keep OpenCV from spreading its work over threads of its own, while ours fill the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def thread_map(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, chunk_size: int = 1
) -> Iterator[Result]:
    """`map` in threads: results come in the order of the items, at most 2 x `threads` x `chunk_size` are under way.

    Items are taken in the thread that asks for results, so a reader of a file needs no lock. With one thread no other
    is started. An exception of `work` is raised where its result would have come; what is under way is finished first.

    Args:
        work: what to do; it may be called by several threads at once.
        items: taken one by one, no faster than results are asked for.
        threads: how many work beside the thread that takes the items, at least 1.
        chunk_size: how many items a thread takes at a time; with single items of a millisecond each, handing them over
            costs a tenth.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[list[Result]]] = deque()
        for chunk in batches(items, chunk_size):
            under_way.append(pool.submit(lambda chunk: [work(item) for item in chunk], chunk))
            # Results that are ready at the front are handed on at once; else reading goes on up to the limit.
            while under_way and (len(under_way) >= 2 * threads or under_way[0].done()):
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


class ToolPool(Generic[Tool]):
    """Tools that only one thread at a time may use each, lent to whichever thread needs one."""

    def __init__(self, tools: list[Tool]) -> None:
        self._free: SimpleQueue[Tool] = SimpleQueue()
        for tool in tools:
            self._free.put(tool)

    def use(self, work: Callable[[Tool], Result]) -> Result:
        """Call `work` with a tool that is free, waiting for one if need be."""
        tool = self._free.get()
        try:
            return work(tool)
        finally:
            self._free.put(tool)

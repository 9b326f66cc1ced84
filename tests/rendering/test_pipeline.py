"""Threads: the order and results of a plain loop, bounded queues, and nobody left hanging when something fails."""

import threading
import time
from collections.abc import Iterator

import pytest

from reenact.rendering.pipeline import Stopped, fan_out, prefetch


def threads() -> int:
    return sum(thread.name.startswith("reenact-") for thread in threading.enumerate())


def test_items_come_in_order_and_are_made_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    got = []
    for item in prefetch(items(), 4):
        time.sleep(0.001)
        got.append(item)
        assert len(made) - len(got) <= 6, "four wait, one is being put, one being made"
    assert got == list(range(50)) and threads() == 0


def test_an_error_arrives_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    source = prefetch(prefetch(items(), 2), 2)
    assert next(source) == 1
    with pytest.raises(ValueError, match="broken"):
        next(source)
    assert threads() == 0


def test_a_chain_that_is_given_up_ends() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    source = prefetch(prefetch(items(), 2), 2)
    next(source)
    source.close()
    assert closed.wait(2) and threads() == 0


def test_every_worker_gets_every_item_and_a_slow_one_holds_the_rest_back() -> None:
    got: dict[str, list[int]] = {"fast": [], "slow": []}

    def worker(name: str, pause: float):
        def work(items: Iterator[int]) -> None:
            for item in items:
                time.sleep(pause)
                got[name].append(item)

        return work

    with fan_out([worker("fast", 0), worker("slow", 0.002)], 3) as give:
        for i in range(40):
            give(i)
            assert i - len(got["slow"]) <= 5
    assert got == {"fast": list(range(40)), "slow": list(range(40))} and threads() == 0


def test_a_failing_worker_stops_all() -> None:
    cleaned = []

    def fails(items: Iterator[int]) -> None:
        next(items)
        raise OSError("disk full")

    def waits(items: Iterator[int]) -> None:
        try:
            for _ in items:
                pass
        except Stopped:
            cleaned.append(True)
            raise

    with pytest.raises(OSError, match="disk full"):
        with fan_out([waits, fails], 2) as give:
            for i in range(1000):
                give(i)
    assert cleaned == [True] and threads() == 0


def test_a_failing_source_stops_the_workers() -> None:
    ended = []

    def works(items: Iterator[int]) -> None:
        try:
            list(items)
        finally:
            ended.append(True)

    with pytest.raises(ValueError, match="source"):
        with fan_out([works], 2) as give:
            give(1)
            raise ValueError("source")
    assert ended == [True] and threads() == 0

"""Work in threads: in order, not far ahead, and with its errors in their place."""

import threading
import time

import pytest

from reenact.runtime.parallel import thread_map


@pytest.mark.parametrize("threads, together", [(1, 1), (2, 1), (3, 4), (2, 100)])
def test_results_are_in_order(threads, together):
    def work(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(thread_map(work, range(37), threads, together)) == [number * number for number in range(37)]
    assert list(thread_map(work, [], threads, together)) == []


def test_items_are_taken_no_faster_than_results_are_asked_for():
    taken = []
    results = thread_map(lambda item: item, (taken.append(item) or item for item in range(1000)), 2, chunk_size=3)
    assert next(results) == 0 and len(taken) <= 2 * 2 * 3
    results.close()


def test_an_error_comes_where_its_results_would_have():
    def work(number):
        return 1 // (number - 6)

    results = thread_map(work, range(100), 2, chunk_size=2)
    assert [next(results) for _ in range(6)] == [-1] * 6
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() < 20

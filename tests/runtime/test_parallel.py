"""Work in threads: in order, not far ahead, and with its errors in their place."""

import threading
import time

import pytest

from reenact.runtime.parallel import in_order


@pytest.mark.parametrize("threads, together", [(1, 1), (2, 1), (3, 4), (2, 100)])
def test_results_are_in_order(threads, together):
    def work(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(in_order(work, range(37), threads, together)) == [number * number for number in range(37)]
    assert list(in_order(work, [], threads, together)) == []


def test_items_are_taken_no_faster_than_results_are_asked_for():
    taken = []
    results = in_order(lambda item: item, (taken.append(item) or item for item in range(1000)), 2, together=3)
    assert next(results) == 0 and len(taken) <= 2 * 2 * 3
    results.close()


def test_an_error_comes_where_its_results_would_have():
    def work(number):
        return 1 // (number - 6)

    results = in_order(work, range(100), 2, together=2)
    assert [next(results) for _ in range(6)] == [-1] * 6
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() < 20

"""Batches made ahead are those made in time."""

import threading
import time

import pytest

from reenact.data.prefetch import Prefetch


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_every_step_gets_its_own_batch_whatever_the_threads(threads):
    with Prefetch(lambda step: step * step, threads=threads, last=20) as batches:
        assert [batches(step) for step in range(1, 21)] == [step * step for step in range(1, 21)]


def test_a_resumed_run_begins_anywhere_and_nothing_is_made_after_the_end():
    made = []
    with Prefetch(lambda step: made.append(step) or step, threads=2, last=12) as batches:
        assert [batches(step) for step in (9, 10, 11, 12)] == [9, 10, 11, 12]
    assert sorted(made) == [9, 10, 11, 12]


def test_no_more_is_in_memory_than_said():
    made, release = [], threading.Event()

    def make(step):
        made.append(step)
        release.wait(5)
        return step

    with Prefetch(make, threads=8, last=1000, ahead=3) as batches:
        waiting = threading.Thread(target=batches, args=(1,))
        waiting.start()
        deadline = time.monotonic() + 60
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # for more, were there any
        assert sorted(made) == [1, 2, 3, 4]
        release.set()
        waiting.join()


def test_work_ahead_hides_the_time_that_a_batch_takes():
    def make(step):
        time.sleep(0.02)
        return step

    with Prefetch(make, threads=2, last=50) as batches:
        waited = []
        for step in range(1, 12):
            started = time.perf_counter()
            batches(step)
            waited.append(time.perf_counter() - started)
            time.sleep(0.03)
        first, *later = waited
    assert first > 0.015 and sum(later) / len(later) < 0.005


def test_an_error_comes_with_its_step():
    def make(step):
        if step == 3:
            raise ValueError("shard 7 is damaged")
        return step

    with Prefetch(make, threads=2, last=10) as batches:
        assert [batches(1), batches(2)] == [1, 2]
        with pytest.raises(ValueError, match="shard 7 is damaged"):
            batches(3)

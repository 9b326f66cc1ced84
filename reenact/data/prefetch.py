"""Batches of coming steps, made in other threads while a step trains."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic

from reenact.data.rank_batch import StepBatchT


class Prefetch(Generic[StepBatchT]):
    """Calls `make(step)` ahead of time; a batch follows from its step alone, so who makes it when changes nothing.

    Threads do: reading, decoding and scaling pictures let go of Python's lock.

    Args:
        make: step -> batch; called by several threads at a time.
        threads: how many make batches; 0 = each is made when it is asked for.
        last: no step after it is made.
        ahead: steps that are made before they are asked for; as a rule twice the threads.
    """

    def __init__(self, make: Callable[[int], StepBatchT], *, threads: int, last: int, ahead: int | None = None) -> None:
        self._make, self._last = make, last
        self._ahead = 2 * threads if ahead is None else ahead
        self._pool = ThreadPoolExecutor(threads, "prefetch") if threads else None
        self._coming: dict[int, Future[StepBatchT]] = {}

    def __enter__(self) -> "Prefetch[StepBatchT]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __call__(self, step: int) -> StepBatchT:
        """The batch of a step. Errors of making it are raised here."""
        if self._pool is None:
            return self._make(step)
        for passed in [known for known in self._coming if known < step]:
            self._coming.pop(passed).cancel()
        for coming in range(step, min(step + self._ahead, self._last) + 1):
            if coming not in self._coming:
                self._coming[coming] = self._pool.submit(self._make, coming)
        return self._coming.pop(step).result()

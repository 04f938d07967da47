"""Functions that are timed together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ravine.benchmark.timing import calibrated, calling


class Team:
    """Functions that run at the same time, each on a thread of its own that is kept from one measurement to the next.

    Args:
        functions: each is called with a number of passes to do; the first runs on the caller's thread.
    """

    def __init__(self, functions: Sequence[Callable[[int], object]]) -> None:
        self._first, *self._others = functions
        self._start = threading.Barrier(len(functions))
        self._threads = ThreadPoolExecutor(max(1, len(self._others)))  # starts none before it has work

    def seconds(self, passes: int) -> float:
        """Return the time from when the first of them starts with so many passes until the last is done."""
        spans = self._spans(passes)
        return max(end for _, end in spans) - min(begin for begin, _ in spans)

    def each_seconds(self, passes: int) -> list[float]:
        """Return the time that each of them takes for so many passes, while the others do theirs."""
        return [end - begin for begin, end in self._spans(passes)]

    def _spans(self, passes: int) -> list[tuple[float, float]]:
        others = [self._threads.submit(self._span, function, passes) for function in self._others]
        return [self._span(self._first, passes), *(other.result() for other in others)]

    def _span(self, function: Callable[[int], object], passes: int) -> tuple[float, float]:
        try:
            function(1)  # what others left in the cache and asleep is not to be paid for here
            self._start.wait()
        except BaseException:
            self._start.abort()  # or the other threads would wait for ever
            raise
        begin = time.perf_counter()
        function(passes)
        return begin, time.perf_counter()


def together(functions: Sequence[Callable[[], object]], target: float) -> Callable[[], float]:
    """Return a function that measures as `timing.repeated` does, but functions that run at the same time."""
    return calibrated(Team([calling(function) for function in functions]).seconds, target)

"""Fair timings on a machine that does other things too."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

# OpenMP's threads wait for more work at full speed, for up to some 20 ms, in the way of whoever runs next.
_SETTLE_SECONDS = 0.02


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


def repeated(function: Callable[[], object], target: float) -> Callable[[], float]:
    """Return a function that measures one call of another, by calling it for `target` seconds within a factor of 2."""
    return counted([calling(function)], target)


def together(functions: Sequence[Callable[[], object]], target: float) -> Callable[[], float]:
    """Return a function that measures as `repeated` does, but functions that run at the same time, as a `Team`."""
    return counted([calling(function) for function in functions], target)


def calling(function: Callable[[], object]) -> Callable[[int], None]:
    """Return a function that calls another as often as it is told."""

    def calls(count: int) -> None:
        for _ in range(count):
            function()

    return calls


def counted(functions: Sequence[Callable[[int], object]], target: float) -> Callable[[], float]:
    """Return a function that measures as `together` does, but functions that are told how often to do their work."""
    team = Team(functions)
    calls = 1

    def measure() -> float:
        return team.seconds(calls) / calls

    measure()  # memory is touched for the first time, plans are made
    while calls * measure() < target / 2:
        calls *= 2
    return measure


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int, settle: bool) -> dict[str, list[float]]:
    """Measure in turn, A B C A B C ..., so that what slows the machine down for a while slows everyone down alike.

    Args:
        contenders: functions that return a time, by name.
        rounds: how many turns each has, after one that does not count.
        settle: wait before each turn until other contenders' threads have gone to sleep.

    Returns:
        The times of each contender, in the order of the rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, measure in contenders.items():
            if settle:
                time.sleep(_SETTLE_SECONDS)
            seconds = measure()
            if turn > 0:
                times[name].append(seconds)
    return times


def ratios(times: list[float], others: list[float]) -> list[float]:
    """Return one contender's time divided by another's, round by round."""
    return [a / b for a, b in zip(times, others, strict=True)]


def quartiles(times: list[float], others: list[float]) -> tuple[float, float, float]:
    """Return the quartiles, over the rounds, of one contender's time divided by another's; the second is the median."""
    lower, median, upper = statistics.quantiles(ratios(times, others), n=4, method="inclusive")
    return lower, median, upper


def median_ratio(times: list[float], others: list[float]) -> float:
    """Return the median, over the rounds, of one contender's time divided by another's."""
    return statistics.median(ratios(times, others))

"""Fair timings on a machine that does other things too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

# OpenMP's threads wait for more work at full speed, for up to some 20 ms, in the way of whoever runs next.
_SETTLE_SECONDS = 0.02


def calling(function: Callable[[], object]) -> Callable[[int], None]:
    """Return a function that calls another as often as it is told."""

    def calls(count: int) -> None:
        for _ in range(count):
            function()

    return calls


def calibrated(seconds: Callable[[int], float], target: float) -> Callable[[], float]:
    """Return a function that measures one pass, by making them for `target` seconds within a factor of 2.

    Args:
        seconds: makes as many passes as it is told and returns the time they take.
        target: in seconds.
    """
    passes = 1

    def measure() -> float:
        return seconds(passes) / passes

    measure()  # memory is touched for the first time, plans are made
    while passes * measure() < target / 2:
        passes *= 2
    return measure


def counted(function: Callable[[int], object], target: float) -> Callable[[], float]:
    """Return a function that measures one pass of another, which is told how many to make, as `calibrated` does."""

    def seconds(passes: int) -> float:
        function(1)  # what others left in the cache and asleep is not to be paid for here
        begin = time.perf_counter()
        function(passes)
        return time.perf_counter() - begin

    return calibrated(seconds, target)


def repeated(function: Callable[[], object], target: float) -> Callable[[], float]:
    """Return a function that measures one call of another, by calling it for `target` seconds within a factor of 2."""
    return counted(calling(function), target)


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

"""Fair timings on a machine that does other things too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

# OpenMP's threads wait for more work at full speed, for up to some 20 ms, in the way of whoever runs next.
_SETTLE_SECONDS = 0.02


def repeated(function: Callable[[], object], target: float) -> Callable[[], float]:
    """Return a function that measures one call of another, by calling it for `target` seconds within a factor of 2."""
    calls = 1

    def measure() -> float:
        function()  # what others left in the cache and asleep is not to be paid for here
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - begin) / calls

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


def median_ratio(times: list[float], others: list[float]) -> float:
    """Return the median, over the rounds, of one contender's time divided by another's."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))

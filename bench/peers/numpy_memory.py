"""A limit without a compiler: how fast NumPy's loops move an update's bytes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from ravine import _core, config

from .team import Team

Array = np.ndarray[Any, Any]

# Smaller working sets are measured at this size: it is the same first-level cache, and NumPy's own overhead, which has
# no place in a limit, weighs less.
SMALLEST_BYTES = 24 << 10

# The best of so many measurements counts: now and then the threads are put on one processor.
TRIES = 3

# Passes over arrays below this size are repeated inside a single call of NumPy, above it by as many calls.
_LARGE_BYTES = 1 << 20


def threads_for(moved: int) -> int:
    """Return how many threads ravine gives to work on arrays of so many bytes."""
    return 1 if config.get_threading() == "off" else _core.threads_for(moved)


class MemoryLimit:
    """The time that the memory traffic of one step takes by itself.

    A step reads parameter, gradient and states and writes parameter and states back. That mix of reads and writes is
    made of two streams, each as fast as NumPy can make it: `p += g` (two reads, one write, as parameter and gradient)
    and `s += 0` (one read, one write, as each state). Both run over a buffer as large as all of the step's arrays
    together, so that they meet the same level of cache or memory, and on as many threads as the step uses, each over
    a part of its own. The time is the step's bytes of each kind over the bandwidth measured for that kind; it has no
    part in calls, threads starting, or arithmetic.

    It is a yardstick that needs nothing but NumPy, not a strict limit: NumPy's loops are slower than the best (by up to
    a half in the first-level cache, by up to an eighth in main memory), so a step can run at over 100 % of it. The
    module `memory` has a stricter one, which takes a compiler.

    Args:
        elements: the number of parameters.
        states: how many arrays are kept beside each.
        dtype: of all arrays.

    Attributes:
        threads: how many the step uses.
    """

    def __init__(self, elements: int, states: int, dtype: npt.DTypeLike) -> None:
        size = np.dtype(dtype).itemsize
        self.threads = threads_for((2 + states) * elements * size)
        total = max((2 + states) * elements, SMALLEST_BYTES // size)
        parts = [aligned_zeros(total // self.threads, dtype) for _ in range(self.threads)]
        halves = []
        for part in parts:
            half = part.size // 2 // 64 * 64
            halves.append((part[:half], part[half : 2 * half]))
        self._streams = [_Stream(halves, 3 * size * elements)]
        if states:
            zero = np.zeros(1, dtype)
            self._streams.append(_Stream([(part, zero) for part in parts], 2 * size * elements * states))

    def seconds(self, target: float) -> float:
        """Measure for about `target` seconds and return the time that one step's traffic takes."""
        return sum(stream.seconds(target / len(self._streams)) for stream in self._streams)


class _Stream:
    """Passes of `out += added` on one thread for each pair of arrays `(out, added)`.

    Args:
        pairs: the arrays.
        step_bytes: how many bytes of this kind a step moves.
    """

    def __init__(self, pairs: list[tuple[Array, Array]], step_bytes: int) -> None:
        self._team = Team([functools.partial(_add, *pair) for pair in pairs])
        moved = sum(2 * out.nbytes + (added.nbytes if added.size > 1 else 0) for out, added in pairs)
        self._passes_per_step = step_bytes / moved
        self._pass_seconds = 0.0  # not known yet

    def seconds(self, target: float) -> float:
        """Measure for about `target` seconds and return how long the bytes of one step take."""
        if self._pass_seconds == 0:
            self._pass_seconds = self._team.seconds(2) / 2
        passes = max(1, round(target / TRIES / self._pass_seconds))
        self._pass_seconds = min(self._team.seconds(passes) for _ in range(TRIES)) / passes
        return self._pass_seconds * self._passes_per_step


def aligned_zeros(elements: int, dtype: npt.DTypeLike) -> Array:
    """Return zeros that start with a cache line: loops over others can take half as long again."""
    size = elements * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    raw.fill(0)  # by writing: pages that were only ever read would all be one and the same
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


def _add(out: Array, added: Array, passes: int) -> None:
    if out.nbytes < _LARGE_BYTES:
        np.add.reduce(np.broadcast_to(added, (passes, out.size)), axis=0, out=out)
    else:
        for _ in range(passes):
            np.add(out, added, out=out)

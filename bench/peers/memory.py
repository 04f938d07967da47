"""A strict limit: how fast compiled loops that do next to nothing move a step's bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from statistics import harmonic_mean
from typing import Any, TypeVar

import numpy as np

from .extras import require
from .numpy_memory import SMALLEST_BYTES, TRIES, aligned_zeros, threads_for
from .peer import Array
from .team import Team

_Function = TypeVar("_Function", bound=Callable[..., None])

# Between the starts of two arrays, so that they do not share the sets of a first-level cache.
_STAGGER_BYTES = 1024 + 64


class StreamingLimit:
    """The time that the memory traffic of one step takes by itself, moved by compiled loops.

    A step reads parameter, gradient and states, and writes parameter and states. The loops have the same arrays, as
    many of each kind and as large, and one addition for each that is written:

        p[i] += g[i]; s[i] += g[i]; ...      all arrays in one loop, as a fused update does
        p[i] += g[i], then s[i] += 1, ...    array after array, with fewer streams at a time

    The faster of the two counts, and of that the best of some tries; which one it is depends on the prefetchers. They
    are compiled by numba for this machine, run on as many threads as ravine gives to such a step, each over a part of
    its own, and are repeated within the compiled code. Neither calls nor the threads' start are in the time. The
    threads' speeds are added up, as if nobody had to wait for one that the machine has slowed down.

    It is a limit for whoever reads and writes each byte once with ordinary stores, as far as a loop can show: a machine
    does not promise that its memory has no better mix. In the first-level cache numba's loops have vectors of 256 bits
    where the processor may have 512, and small steps are bound by the cost of a call, so that there the part of the
    limit says how much of a step is not the update. `numpy_memory` has a similar limit without a compiler, on NumPy's
    loops: they move the same bytes in two separate mixes, and have been up to an eighth slower than a step.

    Args:
        elements: the number of parameters.
        states: how many arrays are kept beside each, 0, 1 or 2.

    Attributes:
        threads: how many are used.
    """

    def __init__(self, elements: int, states: int) -> None:
        size = np.dtype(np.float32).itemsize
        self.threads = threads_for((2 + states) * elements * size)
        part = max(elements, SMALLEST_BYTES // size // (2 + states)) // self.threads
        loops = _loops()
        teams: list[list[Callable[[int], object]]] = [[], []]
        for _ in range(self.threads):
            arrays = _staggered(part, 2 + states)
            teams[0].append(functools.partial(_call, loops["together"][states], arrays))
            teams[1].append(functools.partial(_call, loops["apart"][states], arrays))
        self._teams = [Team(functions) for functions in teams]
        self._passes_per_step = elements / (part * self.threads)
        self._pass_seconds = [0.0, 0.0]  # not known yet

    def seconds(self, target: float) -> float:
        """Measure for about `target` seconds and return the time that one step's traffic takes."""
        for i, team in enumerate(self._teams):
            known = self._pass_seconds[i] or team.seconds(2) / 2
            passes = max(1, round(target / TRIES / len(self._teams) / known))
            self._pass_seconds[i] = min(harmonic_mean(team.each_seconds(passes)) for _ in range(TRIES)) / passes
        return min(self._pass_seconds) * self._passes_per_step


def _staggered(elements: int, arrays: int) -> list[Array]:
    stride = elements + (-elements % 16) + _STAGGER_BYTES // 4
    whole = aligned_zeros(stride * arrays, np.float32)
    return [whole[start : start + elements] for start in range(0, stride * arrays, stride)]


def _call(loop: Callable[..., None], arrays: list[Array], passes: int) -> None:
    loop(passes, *arrays)


@functools.cache
def _loops() -> dict[str, tuple[Callable[..., None], ...]]:
    """Return the loops over all arrays together and apart, by the number of states."""
    compiled: Callable[[_Function], _Function] = require("numba").njit(nogil=True)

    @compiled
    def p_only(passes: Any, p: Any, g: Any) -> None:
        for _ in range(passes):
            for i in range(p.size):
                p[i] += g[i]

    @compiled
    def p_s(passes: Any, p: Any, g: Any, s: Any) -> None:
        for _ in range(passes):
            for i in range(p.size):
                p[i] += g[i]
                s[i] += g[i]

    @compiled
    def p_s_u(passes: Any, p: Any, g: Any, s: Any, u: Any) -> None:
        for _ in range(passes):
            for i in range(p.size):
                p[i] += g[i]
                s[i] += g[i]
                u[i] += g[i]

    @compiled
    def add_one(s: Any) -> None:
        for i in range(s.size):
            s[i] += np.float32(1)

    @compiled
    def p_then_s(passes: Any, p: Any, g: Any, s: Any) -> None:
        for _ in range(passes):
            p_only(1, p, g)
            add_one(s)

    @compiled
    def p_then_s_then_u(passes: Any, p: Any, g: Any, s: Any, u: Any) -> None:
        for _ in range(passes):
            p_only(1, p, g)
            add_one(s)
            add_one(u)

    return {"together": (p_only, p_s, p_s_u), "apart": (p_only, p_then_s, p_then_s_then_u)}

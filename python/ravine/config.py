"""What runs on this machine, and how to choose it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ravine import _core

__all__ = [
    "available_isas",
    "available_threadings",
    "get_isa",
    "get_num_threads",
    "get_threading",
    "info",
    "set_isa",
    "set_num_threads",
    "set_threading",
    "show",
]


def available_isas() -> list[str]:
    """Return the instruction sets that this machine can run, the best last."""
    return _core.available_isas()


def get_isa() -> str:
    """Return the instruction set in use: the best available, or what `RAVINE_ISA` or `set_isa` chose."""
    return _core.isa()


def set_isa(name: str) -> None:
    """Use the kernels of another instruction set from the next step on; every one gives the same bits.

    Raises:
        ValueError: the machine cannot run it; the message lists those it can.
    """
    _core.use_isa(name)


def get_num_threads() -> int:
    """Return how many threads a large step is given."""
    return _core.num_threads()


def set_num_threads(threads: int | None) -> None:
    """Set how many threads a large step is given; the results have the same bits for any number.

    Args:
        threads: 1 or more, of which 256 are used at most; or None for the default, `RAVINE_THREADS` where it is set,
            else the number of CPUs that this process may use by its affinity and the quota of its control groups, and
            `OMP_NUM_THREADS` at the most.

    Raises:
        ValueError: `threads` is not a whole number, 1 or more.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ValueError(f"set_num_threads: threads={threads!r}; expected a whole number, 1 or more, or None.")
    _core.set_num_threads(min(threads or 0, 1 << 16))


def available_threadings() -> list[str]:
    """Return the ways of sharing a large step among threads: "pool", "openmp" where the build has it, "off"."""
    return _core.available_threadings()


def get_threading() -> str:
    """Return the one in use: "pool", or what `RAVINE_THREADING` or `set_threading` chose."""
    return _core.threading()


def set_threading(name: str) -> None:
    """Share large steps among threads in another way; the results have the same bits in every one.

    Args:
        name: "pool": helper threads that the caller never waits for in vain, so that a step is never slower than on one
            thread, also beside a BLAS that keeps all cores busy; "openmp": OpenMP's own threads; "off": one thread;
            "auto": the default, which is the pool.

    Raises:
        ValueError: there is no such way here; the message lists those there are.
    """
    _core.use_threading(name)


def info() -> dict[str, Any]:
    """Return what `show` prints."""
    import platform  # noqa: PLC0415  (importing ravine has to be quick)

    from ravine import __version__  # noqa: PLC0415  (ravine imports this module)

    return {
        "ravine": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
        "instruction set": f"{get_isa()} (available: {', '.join(available_isas())})",
        "threads": f"{get_num_threads()} ({get_threading()})",
        "prefetch": f"{_core.prefetch()} bytes ahead" if _core.prefetch() else "the processor's own",
        "compiler": _core.compiler,
        "flags": _core.flags,
    }


def show() -> None:
    """Print the versions, instruction set, threads and compiler flags in use."""
    for key, value in info().items():
        print(f"{key:16}{value}")

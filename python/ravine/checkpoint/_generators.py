"""Random number generators: their states, and taking them over."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from ravine.checkpoint._changes import Act, Change

GENERATORS = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)


def _source(rng: Any) -> Any:
    """Return what holds the state."""
    return rng.bit_generator if isinstance(rng, np.random.Generator) else rng


def name_of(rng: Any) -> str:
    """Return the class that goes with the state; of a Generator, that of its bit generator."""
    return type(_source(rng)).__name__


def state_of(rng: Any) -> Any:
    """Return the state as numbers, arrays and text."""
    if isinstance(rng, random.Random):
        return rng.getstate()
    if isinstance(rng, np.random.RandomState):
        return rng.get_state(legacy=False)
    return _source(rng).state


def _set_state(rng: Any, state: Any) -> None:
    if isinstance(rng, random.Random):
        rng.setstate(state)
    elif isinstance(rng, np.random.RandomState):
        rng.set_state(state)
    else:
        _source(rng).state = state


def _check_places(state: Any) -> None:
    """Raise where a state would be read beyond its numbers: NumPy and Python take over what follows as it is.

    Raises:
        TypeError, ValueError: see there.
    """
    if isinstance(state, tuple):  # of random.Random, which looks at all but the second of two normal numbers
        if not isinstance(state[2], float | None):
            raise TypeError("its next normal number is none")
        return
    if "buffer_pos" in state and not 0 <= state["buffer_pos"] <= len(state["buffer"]):
        raise ValueError("its place in its buffer is outside")
    inner = state["state"]
    if "pos" in inner and not 0 <= inner["pos"] <= len(inner["key"]):
        raise ValueError("its place in its key is outside")


def change_of(rng: Any, state: Any, problems: list[str]) -> Change:
    """Check a saved state, list what is wrong with it, and return what loading does."""
    try:
        scratch = type(_source(rng))()
        _set_state(scratch, state)
        _check_places(state_of(scratch))
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        problems.append(f"this is no state of {name_of(rng)}: {error}")

    def undo() -> Act:
        before = state_of(rng)
        return lambda: _set_state(rng, before)

    return Change(lambda: _set_state(rng, state), undo)

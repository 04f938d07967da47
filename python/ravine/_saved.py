"""How a saved state is loaded, of optimizers, schedules and layers alike: all of it is checked, then taken over.

Each of them has `_loader(state_dict, problems)`. It checks everything, adds all that does not fit to the problems, and
changes nothing. What it returns takes the state over, and is to be called only where there are no problems; then it
cannot fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import numpy as np

from ravine._arrays import as_array, as_scalar, describe
from ravine._hyper import Check

Array = np.ndarray[Any, Any]
Restore = Callable[[], None]
Loader = Callable[[Any, list[str]], Restore]


def checked(owner: str, kind: str, loader: Loader, state_dict: Any) -> Restore:
    """Return what takes over a saved state that fits.

    Args:
        owner: whose state it is, for messages.
        kind: what that is: "optimizer", "schedule" or "layer".
        loader: its `_loader`.
        state_dict: the saved state.

    Raises:
        ValueError: it does not fit. The message lists all problems, and nothing has changed.
    """
    problems: list[str] = []
    restore = loader(state_dict, problems)
    if problems:
        raise ValueError(
            f"{owner}.load_state_dict: the saved state does not fit this {kind}, which is unchanged:\n  "
            + "\n  ".join(problems)
        )
    return restore


def within(where: str, loader: Loader, state: Any, problems: list[str]) -> Restore:
    """Return what takes over the state of a part; its problems are listed as those of `where`."""
    found: list[str] = []
    restore = loader(state, found)
    problems += [f"{where}: {problem}" for problem in found]
    return restore


def noted(check: Check, where: str, value: Any, problems: list[str]) -> Any:
    """Return a value as its check does, or 0 where it does not pass, which is added to the problems."""
    with listed(problems):
        return check(where, value)
    return 0


@contextmanager
def listed(problems: list[str]) -> Iterator[None]:
    """Add what does not pass a check within to the problems, and go on after it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        problems.append(str(error))


def of_scalar(check: Check) -> Check:
    """Return the check of a number that may come as an array or tensor of one, too."""

    def check_scalar(where: str, value: Any) -> Any:
        try:
            number = as_scalar(value)
        except (TypeError, ValueError, RuntimeError):  # of several numbers
            raise TypeError(f"{where} is {describe(as_array(value))}; expected a single number.") from None
        return check(where, number)

    return check_scalar


def of_array(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Callable[[str, Any], Array]:
    """Return the check of an array of this dtype and shape."""

    def check_array(where: str, value: Any) -> Array:
        array = as_array(value)
        if array is None or array.dtype != dtype or array.shape != shape:
            came = describe(value if array is None else array)
            raise ValueError(f"{where} is {came}; expected {dtype}, shape {shape}")
        return array

    return check_array


def is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a value is a list, or a tuple."""
    return isinstance(value, list | tuple)


def hashable(value: object) -> bool:
    """Whether a value can be the key of a dict."""
    try:
        hash(value)
    except TypeError:
        return False
    return True

"""What loading does to objects: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

Act = Callable[[], None]


class Change(NamedTuple):
    """What loading does to one object.

    Attributes:
        make: takes the saved state over.
        undo: returns, before anything has changed, what gives the object its present state back.
    """

    make: Act
    undo: Callable[[], Act]


def make_all(changes: Sequence[Change]) -> None:
    """Make all changes, or none."""
    undo = [change.undo() for change in changes]
    try:
        for change in changes:
            change.make()
    except BaseException:
        _put_back(undo)
        raise


def _put_back(undo: list[Act]) -> None:
    try:
        while undo:
            with suppress(Exception):  # of one does not hold up the others, and the first is on its way already
                undo[-1]()
            undo.pop()
    except KeyboardInterrupt:  # likewise
        _put_back(undo)

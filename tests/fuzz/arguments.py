"""Arguments of calls of layers: arrays over some shape, and bad ones in their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from fuzz.bad_arrays import Bad, bad_array
from fuzz.memory import same_numbers
from fuzz.oracle import Case, Ended

Array = np.ndarray[Any, Any]
SHAPES = [
    (4, 3), (2, 3, 4), (3, 2, 5), (2, 3, 2, 3), (2, 2, 2, 2, 2), (5, 1), (2, 1, 7), (3, 4, 1), (1, 2, 9), (2, 5, 3, 1),
    (2, 3, 0), (0, 3), (0, 2, 4), (2, 0), (2, 0, 3), (1, 3), (1, 1), (2, 17, 2), (2, 2, 33),
]  # fmt: skip
GARBAGE = [None, "x", -1, 2, float("nan"), [0.1], 1j, np.zeros(2), 1e400, object]


def packed(array: Array, channels_last: bool) -> str | None:
    """Return how an array lies in memory, "first" or "last" for its channels, or None: neither."""
    if not array.size:
        return "first"
    moved = np.moveaxis(array, -1, 1) if channels_last else array
    if moved.flags.c_contiguous:
        return "first"
    return "last" if np.moveaxis(moved, 1, -1).flags.c_contiguous else None


def arranged(array: Array, channels_last: bool, memory: str) -> Array:
    """Return a view in the order of memory, as the reference takes it."""
    moved = np.moveaxis(array, -1, 1) if channels_last else array
    return moved if memory == "first" else np.moveaxis(moved, 1, -1)


class Arguments:
    """The arrays of a call by name: what is given, and the memory that it stands for."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.given: dict[str, Any] = {}
        self.views: dict[str, Array | None] = {}
        self.bad = "-"

    def put(self, name: str, array: Array | None) -> None:
        self.given[name] = self.views[name] = array
        if array is not None:
            self.case.watch(lambda: array)

    def spoil(self, name: str) -> None:
        """Put a bad array in place of one of the arguments."""
        good = self.given[name]
        if not isinstance(good, np.ndarray):  # there is none, or it has been spoilt
            return
        others = [a for key, a in self.given.items() if key != name and isinstance(a, np.ndarray)]
        bad: Bad = bad_array(self.case, good, others)
        self.given[name], self.views[name] = bad.value, bad.view
        self.bad = f"{name}: {bad.name}" if self.bad == "-" else f"{self.bad}, {name}"
        if bad.view is not None:
            self.case.watch(lambda: bad.view)


class Batch:
    """Arguments of a forward pass of batch norm over some shape."""

    def __init__(self, case: Case) -> None:
        choose = case.choose
        self.case = case
        self.channels_last = choose.one_in(3)
        self.shape = choose.of(SHAPES)
        self.dtype = choose.of([np.float32, np.float64])
        self.args = Arguments(case)
        shape = self.shape
        self.channels = shape[-1] if self.channels_last else shape[1]
        self.in_memory = choose.of(["first", "last"])
        self.training = choose.one_in(2)
        self.relu = choose.one_in(2)
        has = [choose.one_in(2) for _ in range(5)]
        self.args.put("x", self.like_x())
        for name, there in (("weight", has[0]), ("bias", has[1]), ("running_mean", has[2]), ("running_var", has[2])):
            array = choose.fill(case.arena.array((self.channels,), self.dtype)) if there else None
            if name == "running_var" and array is not None:
                array[...] = np.abs(array)
            self.args.put(name, array)
        self.args.put("residual", self.like_x() if has[3] else None)
        self.args.put("out", self.like_x() if has[4] else None)
        if choose.one_in(6):
            in_place = choose.of(["x", "residual"])
            if self.args.given[in_place] is not None:
                self.args.given["out"] = self.args.views["out"] = self.args.given[in_place]

    def like_x(self) -> Array:
        """Return an array of the shape of x, filled, in the order of memory that x has."""
        array = np.empty(self.shape, self.dtype)
        order = arranged(array, self.channels_last, self.in_memory)
        flat = self.case.arena.array(order.shape, self.dtype)
        if self.case.choose.one_in(4):
            flat = np.empty(order.shape, self.dtype)
        self.case.choose.fill(flat)
        array = flat if self.in_memory == "first" else np.moveaxis(flat, -1, 1)
        return np.moveaxis(array, 1, -1) if self.channels_last else array

    @property
    def uses_batch(self) -> bool:
        return self.training or self.args.given["running_mean"] is None


def check(case: Case, entry: str, bad: str, name: str, ours: Array, theirs: Array, mutation: str = "-") -> None:
    if not same_numbers(np.asarray(ours), np.asarray(theirs)):
        case.fail("WRONG", entry, bad, mutation, f"{name}: {ours!r:.150} instead of {theirs!r:.150}")
        raise Ended

"""Attacks on `flatten` and `unflatten`: states with whatever may be in them, and what has been split changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from ravine.checkpoint import flatten, unflatten

from fuzz.checkpoint_files import changed_somewhere
from fuzz.choices import Choices
from fuzz.oracle import Case


def attack(case: Case) -> None:
    """A value is split, goes through JSON, and comes back the same; or something in between is changed."""
    choose = case.choose
    for _ in range(1 + choose.below(4)):
        garbage = choose.one_in(2)
        given, bad = value(choose, 0, garbage)
        accepted, found = case.attempt(
            "flatten", lambda given=given: flatten(given), bad=bad, owners=("flatten",),
            expected="either" if garbage else "accept",
        )  # fmt: skip
        if not accepted:
            continue
        arrays, rest = found
        rest = json.loads(json.dumps(rest, allow_nan=False))
        accepted, back = case.attempt("unflatten", lambda: unflatten(arrays, rest), bad=bad, expected="accept")
        if accepted and bad != "matrix" and not same(back, given):
            case.fail("WRONG", "unflatten", bad, "-", f"{back!r:.150} instead of {given!r:.150}")
        made_up = changed_somewhere(choose, rest)
        names: Any = choose.of([arrays, arrays, {}, None, [], {**arrays, "params/0": 3, "nothing": None}])
        case.attempt("unflatten", lambda: unflatten(names, made_up), bad="made up", owners=("unflatten",), quotes=True)


def value(choose: Choices, depth: int, garbage: bool) -> tuple[Any, str]:
    """Return something to split, and what is hard about it."""
    if depth < 3 and choose.one_in(2):
        items = [value(choose, depth + 1, garbage) for _ in range(choose.below(4))]
        hard = next((what for _, what in items if what != "-"), "-")
        kind = choose.below(3)
        if kind < 2:
            return (list if kind else tuple)(each for each, _ in items), hard
        return {choose.of(_KEYS if not garbage else [*_KEYS, *_BAD_KEYS]): each for each, _ in items}, hard
    if garbage and choose.one_in(2):
        name = choose.of(list(_HARD))
        return _HARD[name](), name
    return choose.of(_LEAVES)(), "-"


def _nested(cls: type, depth: int) -> Any:
    made: Any = cls()
    for _ in range(depth):
        made = [made] if cls is list else {"a": made}
    return made


def _released() -> Any:
    made = memoryview(b"abc")
    made.release()
    return made


def _cyclic() -> Any:
    made: list[Any] = []
    made.append(made)
    return made


_KEYS = [
    "a",
    "",
    "$array",
    "é/..",
    "\ud800",
    0,
    -1,
    2.5,
    None,
    True,
    (1, "x"),
    "file",
    float("inf"),
    "a.npy",
    "x" * 300,
]
_BAD_KEYS = [b"x", np.int64(3), frozenset(), object, 10**5000]
_LEAVES: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: -3, lambda: 1 << 200, lambda: 0.1, lambda: float("nan"), lambda: -0.0,
    lambda: float("-inf"), lambda: "x", lambda: "\ud800\0", lambda: "", lambda: np.float32(0.1), lambda: np.int8(3),
    lambda: np.bool_(True), lambda: np.str_("é"), lambda: np.str_(""), lambda: np.bytes_(b""), lambda: np.arange(5),
    lambda: np.zeros((2, 0)), lambda: np.array(1.5), lambda: np.asfortranarray(np.ones((2, 3), "f2")),
    lambda: np.arange(12.0)[::3], lambda: np.broadcast_to(np.float64(2), (3, 2)), lambda: np.array(["a", "bc"]),
    lambda: np.array([], "S"), lambda: np.array([b"a\0b", b""]), lambda: np.array(["2020-01-01", "NaT"], "M8[D]"),
    lambda: np.timedelta64(3, "ms"), lambda: np.datetime64("NaT"), lambda: np.arange(3, dtype=">i4"),
    lambda: 1j * np.ones(2),
    lambda: np.array([3], "m8[25s]"), lambda: np.ones(2, np.longdouble), lambda: np.array(["", ""]),
]  # fmt: skip
_HARD: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"x", "set": lambda: {1}, "object": object, "objects": lambda: np.array([None]),
    "module": lambda: np,
    "fields": lambda: np.zeros(2, "f4,i4"), "void": lambda: np.zeros(2, "V3"), "function": lambda: value,
    "masked": lambda: np.ma.masked_array([1.0]), "huge int": lambda: 10**5000, "complex": lambda: 1j, "cyclic": _cyclic,
    "deep list": lambda: _nested(list, 5000), "deep dict": lambda: _nested(dict, 5000),
    "deep": lambda: _nested(list, 400),
    "matrix": lambda: np.asmatrix(np.ones((2, 2))), "range": lambda: range(3), "memory": lambda: memoryview(b"abc"),
    "released": _released, "scalar void": lambda: np.void(b"ab"), "no unit": lambda: np.array(["NaT"], "M8"),
    "huge negative": lambda: -(10**4300), "many dimensions": lambda: np.ones((1,) * 32),
}  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same bits, of the same types all the way down."""
    if isinstance(other, np.ndarray | memoryview):  # what shows memory comes back as an array
        other = np.asarray(other)
        return (type(one), one.dtype, one.shape, one.tobytes()) == (
            np.ndarray,
            other.dtype,
            other.shape,
            other.tobytes(),
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)

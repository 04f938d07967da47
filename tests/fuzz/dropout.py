"""Attacks on `functional.dropout_forward` and its backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from ravine.nn import functional
from ravine.reference import dropout as dropout_reference

from fuzz.arguments import GARBAGE, SHAPES, Arguments, check, packed
from fuzz.bad_arrays import may_overlap, same_start
from fuzz.mutations import mutate
from fuzz.oracle import Case

Array = np.ndarray[Any, Any]


def attack(case: Case) -> None:
    """`functional.dropout_forward` and its backward pass."""
    choose = case.choose
    shape = choose.of(SHAPES)
    dtype = choose.of([np.float32, np.float64])
    order: Any = choose.of(["C", "C", "F"])
    kind = choose.of(["element", "channel", "alpha"])
    layout = choose.of(["NCHW", "NHWC"])
    p, seed, offset = choose.of([0.0, 0.3, 0.5, 1.0]), choose.below(1 << 40), choose.of([0, 5, (1 << 64) - 1])

    def like() -> Array:
        return choose.fill(case.arena.array(shape, dtype, order))

    args = Arguments(case)
    args.put("x", like())
    args.put("out", choose.of([None, args.given["x"], like()]))
    for _ in range(choose.of([0, 1, 1])):
        args.spoil(choose.of(["x", "x", "out"]))
    options: dict[str, Any] = {"p": p, "seed": seed, "offset": offset, "kind": kind, "layout": layout}
    mutation = "-"
    if choose.one_in(10):
        key = choose.of(list(options))
        options[key] = choose.of(GARBAGE)
        mutation = f"{key} garbage"
    x = args.views["x"]
    order_known = x is not None and (
        x.flags.c_contiguous or x.flags.f_contiguous if kind != "channel" else packed_for(x, layout) is not None
    )  # fmt: skip
    copy = None if x is None else np.array(x, order="K")
    must_refuse = not usable(x) or not fits(args.views["out"], args.given["out"], x)
    accepted, result = case.attempt(
        "dropout_forward", lambda: functional.dropout_forward(**args.given, **options), bad=args.bad, mutation=mutation,
        expected="refuse" if must_refuse else "either", owners=("dropout",),
    )  # fmt: skip
    if not accepted or mutation != "-" or not order_known or offset > 1 << 60:
        return
    y, context = np.asarray(result[0]), result[1]
    expected, mask = drop(copy, p, seed, offset, kind, layout)
    check(case, "dropout_forward", args.bad, "y", y, expected)
    args = Arguments(case)
    args.put("dy", choose.fill(np.empty_like(np.asarray(x))))
    args.put("out", choose.of([None, args.given["dy"], np.empty_like(np.asarray(x))]))
    if choose.one_in(2):
        args.spoil(choose.of(["dy", "out"]))
    elif choose.one_in(3):
        mutation = mutate(case, choose.of([x, y]))
    dy = args.views["dy"]
    wrong = (
        dy is None
        or dy.dtype != y.dtype
        or dy.shape != copy.shape
        or not fits(args.views["out"], args.given["out"], dy)
    )
    copy = None if dy is None else np.array(dy, order="K")
    given = args.given
    accepted, dx = case.attempt(
        "dropout_backward", lambda: functional.dropout_backward(given["dy"], context, out=given["out"]), bad=args.bad,
        mutation=mutation, expected="refuse" if wrong and mutation == "-" else "either", owners=("dropout",),
    )  # fmt: skip
    if accepted and mutation == "-":
        with np.errstate(all="ignore"):
            theirs = dropout_reference.dropout_backward(copy, mask, p, kind=kind)
        check(case, "dropout_backward", args.bad, "dx", dx, theirs)


def packed_for(x: Array, layout: str) -> str | None:
    return packed(x, layout == "NHWC") if x.ndim > 1 else None


def usable(x: Array | None) -> bool:
    return x is not None and x.dtype in (np.dtype(np.float32), np.dtype(np.float64)) and bool(x.flags.aligned)


def fits(out: Array | None, given: Any, x: Array | None) -> bool:
    """Whether an output may be written to."""
    if given is None:
        return True
    if out is None or x is None or type(given) is type(None) or not isinstance(given, np.ndarray):
        return False
    right = out.dtype == x.dtype and out.shape == x.shape and out.flags.writeable
    return bool(right) and (not may_overlap(out, x) or same_start(out, x))


def drop(x: Array, p: float, seed: int, offset: int, kind: str, layout: str) -> tuple[Array, Array]:
    """Return what the reference has for x, whose elements count in the order of memory, and the mask."""
    with np.errstate(all="ignore"):
        if kind == "channel":
            return dropout_reference.dropout(x, p, seed=seed, offset=offset, kind=kind, layout=layout)
        order: Any = "C" if x.flags.c_contiguous else "F"
        y, mask = dropout_reference.dropout(x.ravel(order), p, seed=seed, offset=offset, kind=kind)
        return y.reshape(x.shape, order=order), mask.reshape(x.shape, order=order)

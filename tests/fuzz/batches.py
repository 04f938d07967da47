"""Attacks on `minibatches`: bad arrays and arguments, and arrays changed while it iterates."""

from __future__ import annotations

from typing import Any

import numpy as np
from ravine.data import minibatches

from fuzz.bad_arrays import bad_array
from fuzz.mutations import mutate
from fuzz.oracle import Case

Array = np.ndarray[Any, Any]

GARBAGE = [None, "x", -1, 0, 2.5, [3], np.int64(2), True, 1 << 70, object, float("nan")]


def attack(case: Case) -> None:
    """Go through a data set once; each sample comes at most once, X beside its y."""
    choose = case.choose
    count = choose.of([0, 1, 5, 8, 17])
    x = choose.fill(case.arena.array((count, choose.of([1, 3])), np.float32))
    y = case.arena.array((count,), np.int64)
    y[...] = np.arange(count)
    case.watch(lambda: [x, y])
    size: Any = choose.of([1, 2, 3, 32, None])
    options = {"shuffle": choose.one_in(2), "rng": choose.below(1000), "drop_last": choose.one_in(2)}
    given: Any = x
    bad, mutation = "-", "-"
    kind = choose.below(4)
    if kind == 0:
        made = bad_array(case, x, [y])
        given, bad = made.value, f"X: {made.name}"
    elif kind == 1:
        key = choose.of(["batch_size", *options])
        value = choose.of(GARBAGE)
        bad = f"{key} garbage"
        size = value if key == "batch_size" else size
        options |= {key: value} if key != "batch_size" else {}
    spoilt = kind == 2

    def go() -> list[tuple[Array, Array]]:
        nonlocal mutation
        found = []
        for xb, yb in minibatches(given, y, batch_size=size, **options):
            found.append((np.array(xb), np.array(yb)))
            if spoilt and mutation == "-":
                mutation = mutate(case, choose.of([x, y]))
        return found

    accepted, found = case.attempt(
        "minibatches", go, bad=bad, owners=("minibatches", "index") if bad != "rng garbage" else (), also=(IndexError,),
        expected="accept" if kind == 3 else "either", may_change=spoilt,
    )  # fmt: skip
    if not accepted or bad != "-" or spoilt:
        return
    order = np.concatenate([yb for _, yb in found]) if found else np.zeros(0, int)
    expected = count - count % size if options["drop_last"] and size is not None else count
    right = len(order) == expected == len(set(order.tolist())) and all(
        np.array_equal(xb, x[yb], equal_nan=True) for xb, yb in found
    )
    if not options["shuffle"]:
        right = right and bool((order == np.arange(expected)).all())
    if not right:
        case.fail("WRONG", "minibatches", bad, "-", f"{order} of {count} samples in batches of {size}, {options}")

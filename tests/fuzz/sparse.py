"""Attacks on `SparseGrad`: construction, its methods, mutations in between. Steps with it are in `optimizers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ravine.optim import SparseGrad
from sparse_helpers import summed

from fuzz.bad_arrays import bad_array
from fuzz.memory import frozen, same_numbers
from fuzz.mutations import mutate
from fuzz.oracle import Case

Array = np.ndarray[Any, Any]

SHAPES = [(5,), (4, 3), (1,), (3, 2, 2), (0,), (4, 0), (0, 3), (9, 1)]
BAD_SHAPES = [None, 3, "ab", (), (-1,), (2.5, 3), (1 << 62, 1 << 62), ("4", 3), object, (np.int64(4), 3), [4, 3]]


def attack(case: Case) -> None:
    """Construct one, sometimes of bad arrays; call its methods, sometimes after a mutation."""
    choose = case.choose
    shape: Any = choose.of(SHAPES)
    count = choose.below(6) if shape[0] else 0
    dtype = choose.of([np.float32, np.float64])
    rows: Any = case.arena.array((count,), np.int64)
    rows[...] = [choose.below(shape[0]) for _ in range(count)]
    values: Any = choose.fill(case.arena.array((count, *shape[1:]), dtype))
    bad, good = "-", True
    kind = choose.below(6)
    if kind == 0:
        made = bad_array(case, values, [rows])
        values, bad, good = made.value, f"values: {made.name}", False
    elif kind == 1:
        made = bad_array(case, rows.astype(float), [values])
        rows, bad, good = made.value, f"rows: {made.name}", False
    elif kind == 2:
        shape, bad, good = choose.of(BAD_SHAPES), "shape garbage", False
    elif kind == 3 and count:
        rows[choose.below(count)] = choose.of([-1, shape[0], 1 << 40, -(1 << 62)])
        bad, good = "rows out of range", False
    elif kind == 4:
        rows = rows.astype(choose.of(["i4", "u8", "i1", ">i8", "u2"]))
    accepted, grad = case.attempt(
        "SparseGrad()", lambda: SparseGrad(rows, values, shape), bad=bad, owners=("SparseGrad",),
        expected="accept" if good else "refuse" if bad in ("rows out of range",) else "either",
    )  # fmt: skip
    if not accepted:
        return
    case.watch(lambda: [grad.rows, grad.values, grad.shape])
    if choose.one_in(2):
        use(case, grad, "-", bad)
        return
    target = choose.of([grad.rows, grad.values])
    mutation = mutate(case, target)
    if mutation == "overwritten" and target is grad.rows:
        target[...] = choose.of([-1, grad.shape[0], 1 << 40, 0])
    use(case, grad, f"{'rows' if target is grad.rows else 'values'} {mutation}", bad)


def use(case: Case, grad: SparseGrad, mutation: str, bad: str) -> None:
    """Call one of the methods."""
    choose = case.choose
    rows, values = grad.rows, grad.values
    sound = (
        rows.dtype == np.int64 and rows.ndim == 1 and values.dtype in (np.float32, np.float64)
        and values.dtype.isnative and values.shape == (len(rows), *grad.shape[1:])
        and bool(((rows >= 0) & (rows < grad.shape[0])).all())
    )  # fmt: skip
    in_order = all(a.flags.c_contiguous and a.flags.aligned for a in (rows, values))
    other = SparseGrad(np.zeros(0, int), np.zeros((0, 7)), (1, 7))
    methods: dict[str, Callable[[], Any]] = {
        "coalesce": grad.coalesce,
        "to_dense": grad.to_dense,
        "without_rows": grad.without_rows,
        "repr": lambda: repr(grad),
        "len": lambda: len(grad),
        "nbytes": lambda: grad.nbytes,
        "+": lambda: grad + grad,
        "+ other": lambda: grad + choose.of([None, 3, grad.values, other]),
    }  # fmt: skip
    name = choose.of(["coalesce", "coalesce", "to_dense", "to_dense", *methods])
    if np.prod(grad.shape, dtype=float) > 1e6:
        name = "coalesce"  # of what would not fit into memory
    needs = name in ("coalesce", "to_dense", "+")
    copies = (rows.copy(), values.copy())
    accepted, result = case.attempt(
        f"SparseGrad: {name}", methods[name], mutation=mutation, bad=bad,
        expected="accept" if sound and in_order and name != "+ other" else "either",
        owners=("SparseGrad", "coalesce"), also=(TypeError,) if name == "+ other" else (),
    )  # fmt: skip
    if not accepted or not needs or name == "+":
        return
    if not sound and not rows.size:  # no rows, whatever they are
        return
    if not sound:
        case.fail(
            "ACCEPTED", f"SparseGrad: {name}", bad, mutation, "rows or values are not what they were checked to be"
        )
        return
    with np.errstate(all="ignore"):
        named, sums = summed(*copies)
    dense = np.zeros(grad.shape, values.dtype)
    dense[named] = sums
    ours = result if name == "to_dense" else result.to_dense()
    if not same_numbers(ours, dense):
        case.fail("WRONG", f"SparseGrad: {name}", bad, mutation, f"{frozen(ours)[1:3]}")

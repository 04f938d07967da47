"""Attacks on what the table of cases does not hold: LBFGS, whose steps take a closure, and Handoff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from closure_cases import CLOSURE_CASES
from ravine import optim
from ravine.optim import SparseGrad

from fuzz.bad_arrays import bad_array
from fuzz.models import everything
from fuzz.mutations import mutate
from fuzz.oracle import Case, Deliberate, Ended
from fuzz.saved_states import damaged

Array = np.ndarray[Any, Any]

CONFIGS = CLOSURE_CASES[0].configs
LOSSES = [None, "x", 1j, [1.0], np.zeros(2), np.float32(1), (1.0,), (1.0, None, None), {}, float("nan"), 10**400]


def quadratic(arrays: list[Array]) -> tuple[float, list[Array]]:
    return float(sum((a.astype(float) ** 2).sum() for a in arrays)), [2 * a for a in arrays]


def attack_lbfgs(case: Case) -> None:
    """Steps whose closure returns bad gradients or losses, changes parameters, or raises."""
    choose = case.choose
    dtype = choose.of([np.float32, np.float64])
    arrays = [
        np.ascontiguousarray(choose.of([np.arange(1, 4), np.ones((2, 2)), np.arange(3)]), dtype) for _ in range(2)
    ]
    case.watch(lambda: arrays)
    twins = [a.copy() for a in arrays]
    config = {**choose.of(CONFIGS), "max_iter": 2}
    optimizer, twin = optim.LBFGS(arrays, **config), optim.LBFGS(twins, **config)
    case.watch(lambda: everything(optimizer))
    for _ in range(2):
        optimizer.step(lambda: quadratic(arrays))
        twin.step(lambda: quadratic(twins))
    i, bad, mutation = choose.below(2), "-", "-"
    kind = choose.of(["gradient", "gradient", "loss", "raises", "steps", "loads", "changed", "load", "sparse", "group"])
    made = bad_array(case, arrays[i].copy(), arrays)
    value, calls = made.value, choose.below(3)

    def closure() -> Any:
        nonlocal calls, mutation
        calls -= 1
        loss, grads = quadratic(arrays)
        if calls >= 0:
            return loss, grads
        if kind == "gradient":
            return loss, [value if k == i else g for k, g in enumerate(grads)]
        if kind == "loss":
            return choose.of(LOSSES), grads
        if kind == "raises":
            raise Deliberate
        if kind == "steps":
            optimizer.step(lambda: (loss, grads))
        if kind == "loads":
            optimizer.load_state_dict(twin.state_dict())
        if kind == "changed" and mutation == "-":
            mutation = mutate(case, arrays[i])
        if kind == "sparse":
            rows = np.array([0, 0], np.int64)
            sparse = SparseGrad(rows, np.ones((2, *arrays[i].shape[1:]), dtype), arrays[i].shape)
            mutation = mutate(case, choose.of([sparse.rows, sparse.values]))
            return loss, [sparse if k == i else g for k, g in enumerate(grads)]
        return loss, grads

    if kind == "load":
        saved, where, what = damaged(case, optimizer.state_dict())
        accepted, _ = case.attempt(
            "LBFGS.load_state_dict",
            lambda: optimizer.load_state_dict(saved),
            bad=what,
            mutation=where,
            owners=("LBFGS",),
        )
        if accepted:
            case.attempt("LBFGS.step", lambda: optimizer.step(lambda: quadratic(arrays)), bad=what,
                         mutation=f"loaded: {where}", owners=("LBFGS",))  # fmt: skip
            raise Ended
    elif kind == "group":
        key = choose.of(list(optimizer.param_groups[0])[1:])
        before = optimizer.param_groups[0][key]
        optimizer.param_groups[0][key] = choose.of([None, "x", -1, float("nan"), [], 1j])
        accepted, _ = case.attempt(
            "LBFGS.step", lambda: optimizer.step(closure), bad=f"{key} garbage", owners=("LBFGS",)
        )
        optimizer.param_groups[0][key] = before
        if accepted:
            raise Ended
    else:
        bad = f"gradient: {made.name}" if kind == "gradient" else kind
        accepted, _ = case.attempt("LBFGS.step", lambda: optimizer.step(closure), bad=bad, owners=("LBFGS",),
                                   may_change=kind in ("changed", "loads"))  # fmt: skip
        if accepted or kind in ("changed", "loads"):
            raise Ended
    optimizer.step(lambda: quadratic(arrays))
    twin.step(lambda: quadratic(twins))
    if not all(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True) for a, b in zip(arrays, twins, strict=True)):
        case.fail("WRONG", "LBFGS.step", bad, mutation, "goes on otherwise than a twin that saw no refused call")


def attack_handoff(case: Case) -> None:
    """Stages are handed over; bad gradients, damaged states and wrong stages in between."""
    choose = case.choose
    worlds = []
    at = choose.of([None, [1], [2]])
    makers: list[Callable[[list[Array]], Any]] = [
        optim.Adam, optim.Lion, optim.AdamW, lambda a: optim.SGD(a, momentum=0.9), optim.RMSprop,
        optim.SGDScheduleFree, optim.Adagrad,
    ]  # fmt: skip
    made = [choose.of(makers) for _ in range(2)]
    for _ in range(2):
        arrays = [np.ones(3), np.full((2, 2), 2.0)]
        worlds.append((arrays, optim.Handoff([make(arrays) for make in made], at=at)))
    (arrays, handoff), (twins, twin) = worlds
    case.watch(lambda: arrays)
    case.watch(lambda: everything(handoff))
    for _ in range(1 + choose.below(4)):
        kind = choose.below(7)
        grads = [choose.fill(np.empty_like(a)) for a in arrays]
        if kind <= 2:
            ok, _ = case.attempt("Handoff.step", lambda: handoff.step(grads), owners=("",))
            if ok:
                twin.step(grads)
        elif kind == 3:
            bad = bad_array(case, grads[0], arrays)
            good = bad.view is not None and bad.view.dtype == np.float64 and bad.view.shape == arrays[0].shape
            copy = np.array(bad.view) if good else None
            ok, _ = case.attempt("Handoff.step", lambda: handoff.step([bad.value, grads[1]]), bad=bad.name)
            if ok:
                twin.step([copy if good else bad.value, grads[1]])
        elif kind == 4:
            stage = choose.of([0, 1, 2, -1, None, "x", 1.0, float("nan"), True])
            ok, _ = case.attempt("Handoff.switch", lambda: handoff.switch(stage), bad=repr(stage), owners=("Handoff",))
            if ok:
                twin.switch(stage)
        elif kind == 5:
            saved, where, value = damaged(case, handoff.state_dict())
            ok, _ = case.attempt("Handoff.load_state_dict", lambda: handoff.load_state_dict(saved), bad=value,
                                 mutation=where, owners=("Handoff",))  # fmt: skip
            if ok:
                case.attempt("Handoff.step", lambda: handoff.step(grads), bad=value, mutation=f"loaded: {where}")
                raise Ended
        else:
            saved = handoff.state_dict()
            case.attempt("Handoff.load_state_dict", lambda: handoff.load_state_dict(saved), expected="accept")
        if [a.tobytes() for a in arrays] != [a.tobytes() for a in twins] or handoff.steps != twin.steps:
            case.fail("WRONG", "Handoff.step", "-", "-", "goes on otherwise than a twin that saw no refused call")
            raise Ended

"""Attacks on `AveragedModel`: bad parameters, functions that answer anything, damaged states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ravine.optim import swa_utils
from ravine.optim.swa_utils import AveragedModel
from ravine.reference.averages import average

from fuzz.bad_arrays import bad_array
from fuzz.memory import same_numbers
from fuzz.mutations import mutate
from fuzz.oracle import Case, Deliberate, Ended
from fuzz.saved_states import damaged

Array = np.ndarray[Any, Any]
Share = Callable[[int], float]


def attack(case: Case) -> None:
    """Average parameters that move; something is wrong at some of the updates."""
    choose = case.choose
    params = [choose.fill(case.arena.array(choose.of([(3,), (2, 3), (0,), (1,)]), dtype)) for dtype in ("f4", "f8")]
    case.watch(lambda: params)
    if choose.one_in(6):
        badly_made(case, params)
    answer: list[Callable[[Any], Any]] = [lambda a: a]  # what the function makes of a right average
    kinds: dict[str, tuple[dict[str, Any], Share]] = {
        "mean": ({}, lambda n: 1 / (n + 1)),
        "compiled mean": ({"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, lambda n: 1 / (n + 1)),
        "compiled moving": ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.75)}, lambda n: 0.25),
        "function": ({"avg_fn": lambda a, p, n: answer[0](average(a, p, 0.25))}, lambda n: 0.25),
    }
    kind = choose.of(list(kinds))
    settings, share = kinds[kind]
    model = AveragedModel(params, **settings)
    case.watch(lambda: [model.arrays, model.n_averaged])
    expected, entry = [p.copy() for p in params], "AveragedModel.update_parameters"
    for _ in range(3):
        for p in params:
            choose.fill(p)
        what = choose.of(["good", "good", "parameters", "answer", "parameter", "average", "load", "damaged"])
        given: Any = None
        bad, mutation = "-", "-"
        if what == "parameters":
            made = bad_array(case, params[0], params[1:])
            given, bad = [made.value, params[1]], made.name
            case.watch(lambda made=made: made.view)
        elif what == "answer" and kind == "function" and model.n_averaged > 0:
            answer[0], bad = answered(case, params[choose.below(2)], model.arrays)
        elif what in ("parameter", "average"):
            mutation = mutate(case, choose.of(params if what == "parameter" else model.arrays))
        elif what in ("load", "damaged"):
            load(case, model, is_damaged=what == "damaged")
        accepted, _ = case.attempt(
            entry, lambda: model.update_parameters(given), bad=bad, mutation=f"{what} {mutation}",
            owners=("AveragedModel",), expected="accept" if bad == mutation == "-" else "either",
        )  # fmt: skip
        if (bad != "-" and accepted) or mutation != "-":
            raise Ended
        if accepted:
            n = model.n_averaged - 1
            with np.errstate(all="ignore"):
                expected = [average(a, p, 1.0 if n == 0 else share(n)) for a, p in zip(expected, params, strict=True)]
        answer[0] = lambda a: a
        if not all(map(same_numbers, model.arrays, expected)):
            case.fail("WRONG", entry, bad, what, f"{model.arrays} instead of {expected}, {kind}")
            raise Ended


def badly_made(case: Case, params: list[Array]) -> None:
    key, value = case.choose.of(["avg_fn", "multi_avg_fn"]), case.choose.of([3, "x", [], params[0]])
    case.attempt("AveragedModel()", lambda: AveragedModel(params, **{key: value}), bad="garbage", expected="refuse",
                 owners=("AveragedModel",))  # fmt: skip
    made = bad_array(case, params[0], params[1:])
    if made.name != "lying subclass":  # NumPy itself believes it
        case.attempt("AveragedModel()", lambda: AveragedModel([made.value]), bad=made.name, owners=("AveragedModel",))


def answered(case: Case, good: Array, averages: list[Array]) -> tuple[Callable[[Any], Any], str]:
    """Return what a function may answer instead of an average, and what that is called."""
    if case.choose.one_in(4):

        def raises(_: Any) -> Any:
            raise Deliberate

        return raises, "raises"
    made = bad_array(case, good, averages)
    case.watch(lambda: made.view)
    return lambda _: made.value, f"answer: {made.name}"


def load(case: Case, model: AveragedModel, is_damaged: bool) -> None:
    """Load what it has saved."""
    saved, where, value = model.state_dict(), "-", "-"
    if is_damaged:
        saved, where, value = damaged(case, saved)
    accepted, _ = case.attempt(
        "AveragedModel.load_state_dict", lambda: model.load_state_dict(saved), bad=value, mutation=where,
        owners=("AveragedModel",), expected="either" if is_damaged else "accept",
    )  # fmt: skip
    if accepted and is_damaged:
        case.attempt("AveragedModel.update_parameters", model.update_parameters, mutation=f"loaded: {where}")
        raise Ended

"""Attacks on what goes with a step of an optimizer: its keywords, steps by parameter, averages, frozen parameters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from ravine.optim.swa_utils import ExponentialMovingAverage

from fuzz.bad_arrays import bad_array
from fuzz.gradients import keywords, problem_of_gradient
from fuzz.models import Averages
from fuzz.mutations import mutate
from fuzz.oracle import Deliberate, Ended
from fuzz.world import World

Array = np.ndarray[Any, Any]

GARBAGE = [None, "x", -1, 0, 1, 0.5, float("nan"), float("inf"), -0.0, 1e-300, 10**400, [1.0], {}, True, 1j, np.ones(2)]
_OF_ONE = ("max_value", "grad_scale", "zero_grad")


def asked_for(world: World) -> None:
    """A step with keywords, right ones."""
    asked, gradients = keywords(world.case.choose), world.gradients()
    world.step(list(gradients), gradients, asked=asked, expected=_expected(world, gradients, asked))


def _expected(world: World, gradients: list[Array | None], asked: dict[str, Any]) -> str:
    """A norm needs a gradient."""
    there = any(g is not None for i, g in enumerate(gradients) if i not in world.model.frozen)
    needs = asked.get("max_norm") is not None and asked.get("total_norm") is None
    return "refuse" if needs and not there else "accept"


def badly_asked(world: World) -> None:
    """A step with one keyword that is garbage, or unknown."""
    case, choose = world.case, world.case.choose
    asked: dict[str, Any] = keywords(choose)
    key = choose.of(["max_norm", "norm_type", "max_value", "grad_scale", "skip_nonfinite", "zero_grad", "total_norm",
                     "max_nrom"])  # fmt: skip
    asked[key] = value = choose.of(GARBAGE)
    gradients = world.gradients()
    accepted, _ = case.attempt(
        f"{world.name}.step(list, ...)", lambda: world.optimizer.step(list(gradients), **asked),
        bad=f"{key} garbage", owners=(world.name, key),
        expected="refuse" if isinstance(value, list | dict | complex | np.ndarray) or key == "max_nrom" else "either",
    )  # fmt: skip
    if accepted:  # it was none
        raise Ended


def by_parameter(world: World) -> None:
    """A step parameter by parameter, in some order, with something wrong in between."""
    case, choose, optimizer = world.case, world.case.choose, world.optimizer
    entry = f"{world.name}.step_param"
    gradients = world.gradients()
    asked = {key: value for key, value in keywords(choose).items() if key in _OF_ONE}
    order = sorted(range(len(gradients)), key=lambda i: choose.below(100))
    done: list[int] = []
    wrong = choose.below(2 * len(order))  # after how many of them something is; or nowhere
    for count, i in enumerate(order):
        if count == wrong:
            in_between(world, done)
        key = f"p{i}" if (world.named or world.form == "Parameter") and choose.one_in(2) else i
        _, seen = world.model.asked_for(gradients, asked)
        accepted, _ = case.attempt(
            entry, lambda key=key, i=i: optimizer.step_param(key, gradients[i], **asked), owners=(world.name,),
            expected="either" if world.spec.together else "accept",
        )  # fmt: skip
        if not accepted or world.spec.together:  # it needs all at once
            raise Ended
        world.check_zeroed(entry, [gradients[i]], asked)
        gradients[i] = seen[i]
        done += [i] if seen[i] is not None and i not in world.model.frozen else []
    if wrong == len(order):
        in_between(world, done)
    accepted, _ = case.attempt(
        f"{world.name}.end_step", optimizer.end_step, expected="accept" if done else "refuse", owners=(world.name,)
    )
    if accepted:
        world.model.step(gradients)
        world.compare(f"{world.name}.end_step")


def in_between(world: World, done: list[int]) -> None:
    """Something that is refused in the middle of a step by parameter, some of which have been updated."""
    case, choose, optimizer = world.case, world.case.choose, world.optimizer
    i, gradients = choose.below(len(world.arrays)), [world.gradient(k) for k in range(len(world.arrays))]
    kind = choose.of(["bad gradient", "again", "step", "group", "average", "save", "copy", "garbage", "which",
                      "keyword"])  # fmt: skip
    refused: dict[str, Any] = {
        "step": lambda: optimizer.step(gradients),
        "group": lambda: optimizer.add_param_group({"params": [np.ones((2, 2))]}),
        "average": lambda: ExponentialMovingAverage(optimizer),
        "save": optimizer.state_dict,
        "copy": lambda: copy.deepcopy(optimizer),
    }
    entry = f"{world.name}.step_param"
    if kind == "bad gradient":
        bad = bad_array(case, gradients[i], world.arrays)
        accepted, _ = case.attempt(
            entry, lambda: optimizer.step_param(i, bad.value), bad=bad.name, owners=(world.name,),
            expected="refuse" if i in done else "either" if bad.view is None
            else problem_of_gradient(bad.view, world.arrays[i], world.written()),
        )  # fmt: skip
        if accepted and bad.value is not None:
            raise Ended
    elif kind == "which":
        which = choose.of([-1, len(gradients), None, "nobody", 1.5, True, [0], gradients[0], 1 << 70])
        expected = "either" if which is True else "refuse"
        accepted, _ = case.attempt(entry, lambda: optimizer.step_param(which, gradients[0]), bad=repr(which)[:20],
                                   owners=(world.name,), expected=expected)  # fmt: skip
        if accepted:
            raise Ended
    elif kind == "keyword":
        key, value = choose.of(["max_norm", "skip_nonfinite", *_OF_ONE]), choose.of(GARBAGE)
        accepted, _ = case.attempt(entry, lambda: optimizer.step_param(i, gradients[i], **{key: value}),
                                   bad=f"{key} garbage", owners=(world.name, key))  # fmt: skip
        if accepted:
            raise Ended
    elif kind == "garbage":
        group = optimizer.param_groups[0]
        kept, group["lr"] = group["lr"], "x"
        case.attempt(entry, lambda: optimizer.step_param(i, gradients[i]), mutation="lr garbage", owners=(world.name,),
                     expected="refuse")  # fmt: skip
        group["lr"] = kept
    elif kind in refused and done:
        case.attempt(f"{world.name}: {kind}", refused[kind], mutation="after step_param", owners=(world.name,),
                     expected="refuse")  # fmt: skip
    if done:
        i = choose.of(done)
        case.attempt(entry, lambda: optimizer.step_param(i, gradients[i]), mutation=f"again, {kind}",
                     expected="refuse", owners=(world.name,))  # fmt: skip


def averaged(world: World) -> None:
    """Steps renew an average from now on, or there is something wrong with it."""
    case, choose, optimizer = world.case, world.case.choose, world.optimizer
    settings: dict[str, Any] = {"decay": choose.of([0.5, 0.99, 0.0]), "warmup": choose.one_in(3),
                                "every": choose.of([1, 1, 2])}  # fmt: skip
    garbage = choose.one_in(4)
    if garbage:
        settings[choose.of(list(settings))] = choose.of(GARBAGE)
    refuses = optimizer._averages is not None or world.name.endswith("ScheduleFree")
    accepted, _ = case.attempt(
        "ExponentialMovingAverage()", lambda: ExponentialMovingAverage(optimizer, **settings),
        bad="garbage" if garbage else "-", expected="refuse" if refuses else "either" if garbage else "accept",
        owners=(world.name, "ExponentialMovingAverage"),
    )  # fmt: skip
    if not accepted:
        return
    if garbage:
        raise Ended
    world.model.averages = Averages(world.arrays, **settings)
    asked_for(world)


def applied(world: World) -> None:
    """The average is put into the parameters, and something refused, or nothing, happens there."""
    case, choose, optimizer = world.case, world.case.choose, world.optimizer
    if world.model.averages is None:
        return
    ema, gradients = ExponentialMovingAverage.of(optimizer), [world.gradient(i) for i in range(len(world.arrays))]
    what = choose.of(["step", "step_param", "applied", "remove", "group", "copy", "raises", "state_dict", "reload",
                      "parameter", "none"])  # fmt: skip
    refused: dict[str, Any] = {
        "step": lambda: optimizer.step(gradients),
        "step_param": lambda: optimizer.step_param(0, gradients[0]),
        "applied": lambda: ExponentialMovingAverage.of(optimizer).applied().__enter__(),
        "remove": ema.remove,
        "group": lambda: optimizer.add_param_group({"params": [np.ones((2, 2))]}),
        "copy": lambda: copy.deepcopy(optimizer),
    }
    entry, mutation = "ExponentialMovingAverage.applied", "-"

    def inside() -> None:
        nonlocal mutation
        with ema.applied():
            if not all(map(np.array_equal, map(np.nan_to_num, world.arrays), map(np.nan_to_num, ema.arrays))):
                case.fail("WRONG", entry, "-", "-", "the parameters are not the averages")
            if what in refused:
                case.attempt(f"{world.name}: {what}", refused[what], mutation="within applied()", expected="refuse",
                             owners=(world.name, "ExponentialMovingAverage"))  # fmt: skip
            elif what == "raises":
                raise Deliberate
            elif what == "parameter":
                mutation = mutate(case, choose.of(world.arrays))
            elif what != "none":
                saved = optimizer.state_dict()
                if what == "reload":
                    optimizer.load_state_dict(saved)
            if what == "none" and choose.one_in(2):
                ema.restore()

    case.attempt(entry, inside, mutation=what, may_change=what == "parameter", owners=(world.name, "Exponential"),
                 expected="either" if what in ("parameter", "raises") else "accept")  # fmt: skip
    if mutation not in ("-", "overwritten"):
        raise Ended
    world.compare(entry, mutation=what)


def removed(world: World) -> None:
    """Steps renew the average no more."""
    if world.model.averages is None:
        return
    ema = ExponentialMovingAverage.of(world.optimizer)
    world.case.attempt("ExponentialMovingAverage.remove", ema.remove, expected="accept")
    world.model.averages = None


def froze(world: World) -> None:
    """Parameters are frozen by name, or set free again."""
    case, choose = world.case, world.case.choose
    names = [f"p{i}" for i in range(len(world.arrays))] if world.named or world.form == "Parameter" else []
    freezes = choose.one_in(2)
    act = world.optimizer.freeze if freezes else world.optimizer.unfreeze
    good = bool(names) and choose.one_in(2)
    patterns = [choose.of([*names, "*", "p?", "p[0]"]) for _ in range(1 + choose.below(2))] if good else [
        choose.of([*names, "", ".", "p", "p9", "[", "*.*", None, 3, b"p0", ["p0"], world.arrays[0]])
    ]  # fmt: skip
    accepted, found = case.attempt(
        f"{world.name}.{'freeze' if freezes else 'unfreeze'}", lambda: act(*patterns), owners=(world.name,),
        bad="-" if good else "pattern garbage", expected="accept" if good else "either" if names else "refuse",
    )  # fmt: skip
    if accepted:
        positions = {names.index(name) for name in found}
        world.model.frozen = world.model.frozen | positions if freezes else world.model.frozen - positions
        world.exact = world.exact and not world.spec.together  # what the group has in common goes on
        asked_for(world)


ATTACKS = [
    asked_for, asked_for, badly_asked, by_parameter, by_parameter, averaged, averaged, applied, applied, removed, froze,
    froze,
]  # fmt: skip

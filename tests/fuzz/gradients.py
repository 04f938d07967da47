"""Steps with bad gradients: arrays, sparse ones, containers, and those that `Parameter.grad` keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from ravine import nn
from ravine.optim import SparseGrad
from sparse_helpers import summed

from fuzz.bad_arrays import bad_array, may_overlap
from fuzz.choices import Choices
from fuzz.mutations import mutate
from fuzz.oracle import Deliberate, Ended
from fuzz.world import World

Array = np.ndarray[Any, Any]


# What a step may be asked for, right by itself.
_KEYWORDS: dict[str, list[Any]] = {
    "max_norm": [0.5, 1e9, np.inf, np.float32(2), 3, None],
    "norm_type": [2.0, 1, np.inf, "inf", 3.5],
    "max_value": [0.3, 1e-30, np.inf, 1, None],
    "grad_scale": [12.0, -3, 65536.0, np.float32(0.5), None],
    "skip_nonfinite": [True, False],
    "zero_grad": [True, False],
    "total_norm": [0, 7.5, np.inf, np.nan, None],
}


def keywords(choose: Choices) -> dict[str, Any]:
    """Return keywords of a step that go together."""
    asked = {key: choose.of(values) for key, values in _KEYWORDS.items() if choose.one_in(3)}
    if asked.get("max_norm") is None and not asked.get("skip_nonfinite"):
        asked.pop("total_norm", None)  # it has no use then
    return asked


def problem_of_gradient(view: Array | None, p: Array, written: list[Array]) -> str:
    """Return whether a gradient has to be accepted or refused: "accept", "refuse", or "either"."""
    if view is None or view.dtype != p.dtype or view.shape != p.shape:
        return "refuse"
    in_order = (view.flags.c_contiguous and p.flags.c_contiguous) or (view.flags.f_contiguous and p.flags.f_contiguous)
    if view.flags.aligned and in_order and any(may_overlap(view, array) for array in written):
        return "refuse"
    return "either"


def good_step(world: World) -> None:
    gradients = world.gradients()
    world.step(gradients, gradients)


def bad_gradient(world: World) -> None:
    """One gradient of a step is a bad array."""
    case = world.case
    gradients = world.gradients()
    i = case.choose.below(len(gradients))
    bad = bad_array(case, world.gradient(i), [*world.arrays, *[g for g in gradients if g is not None]])
    asked = keywords(case.choose) if case.choose.one_in(3) else {}
    values: list[Any] = list(gradients)
    values[i] = bad.value
    if bad.value is None:
        if world.spec.together:
            return
        gradients[i] = None
        world.step(values, gradients, bad=bad.name, form="list")
        return
    gradients[i] = bad.view
    p = world.arrays[i]
    expected = problem_of_gradient(bad.view, p, world.written())
    if isinstance(bad.value, SparseGrad):
        expected = "either"
    if isinstance(bad.value, nn.Parameter) and world.form == "Parameter":
        expected = "either"
    form = case.choose.of(["list", ".grad"]) if world.form != "array" else "list"
    if form == ".grad" and world.form == "Parameter":
        # Its setter takes the array, or refuses it.
        accepted, _ = case.attempt(
            "Parameter.grad", lambda: setattr(world.params[i], "grad", bad.value), bad=bad.name, owners=("Parameter",),
            expected=expected if bad.view is None or bad.view.dtype != p.dtype or bad.view.shape != p.shape
            else "either",
        )  # fmt: skip
        if not accepted:
            return
        for k, param in enumerate(world.params):
            if k != i:
                param.grad = values[k]
    elif form == ".grad":
        for param, value in zip(world.params, values, strict=True):
            param.grad = value
    if isinstance(bad.value, SparseGrad):
        sparse_step(world, i, bad.value, form, asked=asked)
        return
    if bad.view is None and expected != "refuse":
        world.exact = False
    entry = f"{world.name}.step({form}{', ...' if asked else ''})"
    copies = [None if g is None else np.array(g, order="K") for g in gradients] if bad.view is not None else None
    given = [] if form == ".grad" else [values]
    accepted, _ = case.attempt(
        entry, lambda: world.optimizer.step(*given, **asked), bad=bad.name, expected=expected,
        owners=(world.name, "Parameter"),
    )  # fmt: skip
    if accepted and copies is not None:
        world.stepped(entry, copies, asked, bad.name)
        world.check_zeroed(entry, gradients, asked, bad.name)


def sparse_gradient(world: World) -> None:
    """A sparse gradient for one parameter alone, right or wrong."""
    case, choose = world.case, world.case.choose
    i = choose.below(len(world.arrays))
    p = world.arrays[i]
    count = choose.below(5)
    if not len(p) and count:
        return
    rows = np.array([choose.below(len(p)) for _ in range(count)], np.int64)
    values = choose.fill(np.empty((count, *p.shape[1:]), p.dtype))
    gradient = SparseGrad(rows, values, p.shape)
    mutation = "-"
    if choose.one_in(2):
        target = choose.of([gradient.rows, gradient.values])
        mutation = mutate(case, target)
        if mutation == "overwritten":
            target[...] = 1 if target is gradient.values else choose.of([-1, 0, len(p), 1 << 40])
    sparse_step(world, i, gradient, "list", mutation, keywords(choose) if choose.one_in(3) else {})


def sparse_step(
    world: World, i: int, gradient: SparseGrad, form: str, mutation: str = "-", asked: dict[str, Any] | None = None
) -> None:
    case = world.case
    if world.spec.together:
        return
    p, values = world.arrays[i], [None] * len(world.arrays)
    values[i] = gradient
    for param in world.params if form == ".grad" else ():
        if param is not world.params[i]:
            param.grad = None
    rows, added = gradient.rows, gradient.values
    sound = (
        rows.dtype == np.int64 and rows.ndim == 1 and rows.flags.c_contiguous and added.flags.c_contiguous
        and added.dtype == p.dtype and added.shape == (len(rows), *p.shape[1:]) and p.flags.c_contiguous
        and bool(((rows >= 0) & (rows < len(p))).all()) and gradient.shape == p.shape
    )  # fmt: skip
    index = next(k for k, positions in enumerate(world.model.groups) if i in positions)
    settings = world.model.settings[index]
    takes = world.name in ("SGD", "Adagrad", "SparseAdam") and not settings.get("weight_decay")
    takes = takes and not settings.get("momentum")
    copies = (rows.copy(), added.copy())
    asked = asked or {}
    entry = f"{world.name}.step({form}{', ...' if asked else ''})"
    given = [] if form == ".grad" else [values]
    accepted, _ = case.attempt(
        entry, lambda: world.optimizer.step(*given, **asked), bad="SparseGrad", mutation=mutation,
        expected="refuse" if not takes or not sound else "accept" if mutation == "-" and not asked else "either",
        owners=(world.name, "Parameter", "SparseGrad"),
    )  # fmt: skip
    if accepted:
        with np.errstate(all="ignore"):
            named, sums = summed(*copies)
        gradients: list[Array | None] = [sums if k == i else None for k in range(len(world.arrays))]
        world.stepped(entry, gradients, asked, "SparseGrad", mutation, named)
        world.check_zeroed(entry, [added], asked, "SparseGrad", mutation)


def bad_container(world: World) -> None:
    """What is no list of gradients at all."""
    case, choose = world.case, world.case.choose
    good = world.gradients()
    array = world.gradient(0)
    value = choose.of([
        3, "ab", array, good[:-1], [*good, array], {"nobody": array}, b"12", object(), {1, 2}, np.float32(1), [good],
        {"p0": array, 3: array}, iter(good[1:]), [good, good, good], [[array], {"p0": array}],
    ])  # fmt: skip
    raising = choose.one_in(8)
    closure = (lambda: (_ for _ in ()).throw(Deliberate)) if raising else None
    fits = isinstance(value, dict) and len(world.arrays) == 1 and set(value) == {"p0"}
    case.attempt(
        f"{world.name}.step(no gradients)", lambda: world.optimizer.step(value, closure=closure),
        bad=type(value).__name__, expected="either" if fits else "refuse", owners=(world.name,),
    )  # fmt: skip
    case.attempt(
        f"{world.name}.step(no closure)", lambda: world.optimizer.step(good, closure=choose.of([3, "f", array])),
        expected="refuse", owners=(world.name, "callable"),
    )  # fmt: skip


def kept_gradient(world: World) -> None:
    """`Parameter.grad` is changed in place between being set and being used."""
    case, choose = world.case, world.case.choose
    if world.form == "array":
        return
    i = choose.below(len(world.arrays))
    gradients = [world.gradient(k) for k in range(len(world.arrays))]
    kept = gradients[i].copy(order="K")
    values: list[Array | None] = list(gradients)
    values[i] = kept
    for param, value in zip(world.params, values, strict=True):
        param.grad = value
    mutation = mutate(case, kept)
    if mutation == "-":
        return
    if choose.one_in(3):
        none = choose.one_in(2)
        case.attempt(
            f"{world.name}.zero_grad", lambda: world.optimizer.zero_grad(none), mutation=f"gradient {mutation}",
            owners=(world.name, "Parameter"),
        )  # fmt: skip
        raise Ended
    copies = [g.copy(order="K") for g in values]
    entry = f"{world.name}.step(.grad)"
    accepted, _ = case.attempt(
        entry, world.optimizer.step, mutation=f"gradient {mutation}", owners=(world.name, "Parameter"),
        expected=problem_of_gradient(kept, world.arrays[i], world.written()),
    )  # fmt: skip
    if accepted:
        world.model.step(copies)
        world.compare(entry, "-", f"gradient {mutation}")


def zeroed(world: World) -> None:
    if world.form == "array":
        return
    for i, param in enumerate(world.params):
        param.grad = world.gradient(i)
    none = world.case.choose.one_in(2)
    world.case.attempt(f"{world.name}.zero_grad", lambda: world.optimizer.zero_grad(none), expected="accept")
    wrong = [p.grad for p in world.params if (p.grad is not None if none else p.grad is None or np.any(p.grad))]
    if none is False and wrong:
        world.case.fail("WRONG", f"{world.name}.zero_grad", "-", "-", "a gradient is not zero")

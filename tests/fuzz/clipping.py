"""Attacks on `nn.utils`: norms and clipping of good and bad gradients, in every form in which they come."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ravine import nn
from ravine.nn import utils
from ravine.reference.clipping import total_norm

from fuzz.bad_arrays import bad_array, may_overlap
from fuzz.memory import same_numbers
from fuzz.oracle import Case
from fuzz.whole_steps import GARBAGE
from fuzz.world import SHAPES, Thing

Array = np.ndarray[Any, Any]

_KEYS = {
    "clip_grad_norm_": ["max_norm", "norm_type"],
    "clip_grads_with_norm_": ["max_norm", "total_norm"],
    "clip_grad_value_": ["clip_value"],
    "get_total_norm": ["norm_type"],
}
_RIGHT: dict[str, list[Any]] = {
    "max_norm": [0.5, 3, 1e30, np.inf, np.float32(2)],
    "clip_value": [0.3, 1, 1e-30, np.inf],
    "total_norm": [0, 2.5, np.inf, np.nan],
    "norm_type": [1, 2.0, np.inf, "inf", 3.5],
}


def attack(case: Case) -> None:
    """Find the norm of gradients, or clip them; one of them may be bad, or an option garbage."""
    choose = case.choose
    name = choose.of([*_KEYS, "clip_grad_norm_"])
    clips = name != "get_total_norm"
    values: list[Any] = []
    for _ in range(choose.below(4)):
        array = case.arena.array(choose.of([*SHAPES, ()]), choose.of([np.float32, np.float64]), choose.of("CF"))
        values.append(choose.fill(array))
    views: list[Array | None] = list(values)
    bad = "-"
    if values and choose.one_in(2):
        i = choose.below(len(values))
        made = bad_array(case, values[i], [g for k, g in enumerate(values) if k != i])
        values[i], views[i], bad = made.value, made.view, made.name
        case.watch(lambda: made.view)
        if isinstance(made.value, nn.Parameter):
            views[i] = None  # it stands for its gradient
    items = values
    if clips and choose.one_in(3):
        items = [Thing(np.zeros(1)) for _ in values]
        for item, value in zip(items, values, strict=True):
            item.grad = value
    given, form = _form(case, items)
    options, wrong = _options(case, name)
    copies = [None if view is None else np.array(view, order="K") for view in views]
    found = [view for view in views if view is not None]
    refused = wrong == "refuse"
    if name in ("clip_grad_norm_", "get_total_norm"):
        refused |= all(value is None for value in values)
    refused |= any(view.dtype not in (np.float32, np.float64) or not view.dtype.isnative for view in found)
    refused |= clips and any(not view.flags.writeable for view in found)
    packed = [view for view in found if view.flags.c_contiguous]
    refused |= clips and any(may_overlap(a, b) for k, a in enumerate(packed) for b in packed[:k])
    sound = wrong == "-" and all(isinstance(value, np.ndarray | None) for value in values)
    sound = sound and bad in ("-", "None") and form != "one"
    accepted, norm = case.attempt(
        f"nn.utils.{name}({form})", lambda: getattr(utils, name)(given, **options), bad=bad,
        mutation="-" if wrong == "-" else "option garbage", owners=(name,),
        # What is no array may be a list of them where it comes alone.
        expected="refuse" if refused and form != "one" else "accept" if sound and not refused else "either",
    )  # fmt: skip
    if accepted and wrong == "-" and all(c is not None or v is None for c, v in zip(copies, values, strict=True)):
        _check(case, name, bad, options, norm, found, [c for c in copies if c is not None])


def _check(
    case: Case, name: str, bad: str, options: dict[str, Any], norm: Any, found: list[Array], before: list[Array]
) -> None:
    """Hold what has become of gradients, and the norm that was found, against the reference."""
    with np.errstate(all="ignore"):
        if "norm_type" in options:
            p = float(options["norm_type"])
            expected = total_norm(before, p)
            tolerance = 0.0 if p in (1, 2, math.inf) else 1e-12
            if not np.isclose(norm, expected, rtol=tolerance, atol=0, equal_nan=True):
                case.fail("WRONG", f"nn.utils.{name}", bad, "-", f"{norm} instead of {expected} by p={p}")
        norm = options.get("total_norm", norm)
        factor, limit = 1.0, options.get("clip_value", math.inf)
        if options.get("max_norm", math.inf) != math.inf:
            factor = float(np.minimum(1, options["max_norm"] / np.float64(norm + 1e-6)))
        for view, old in zip(found, before, strict=True):
            dtype = old.dtype.type
            new = np.clip(old if factor == 1 else dtype(factor) * old, -dtype(limit), dtype(limit))
            if not same_numbers(np.asarray(view), np.asarray(new)):
                case.fail("WRONG", f"nn.utils.{name}", bad, "-", f"{view!r:.150} instead of {new!r:.150}, {options}")


def _options(case: Case, name: str) -> tuple[dict[str, Any], str]:
    """Return options of a function, and what has to come of those that are wrong; "-" where none is."""
    choose = case.choose
    options = {key: choose.of(_RIGHT[key]) for key in _KEYS[name]}
    if not choose.one_in(4):
        return options, "-"
    value = options[choose.of(_KEYS[name])] = choose.of(GARBAGE)
    return options, "refuse" if isinstance(value, list | dict | complex | np.ndarray | None) else "either"


def _form(case: Case, items: list[Any]) -> tuple[Any, str]:
    forms: dict[str, Callable[[], Any]] = {
        "list": lambda: items, "tuple": lambda: tuple(items), "generator": lambda: iter(items),
        "dict": lambda: {f"g{i}": item for i, item in enumerate(items)},
    }  # fmt: skip
    if len(items) == 1:
        forms["one"] = lambda: items[0]
    form = case.choose.of(list(forms))
    return forms[form](), form

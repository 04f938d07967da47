"""Attacks on `groups`: good and bad parameters and rules; each parameter is in one of the groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from ravine import nn, optim

from fuzz.bad_arrays import bad_array
from fuzz.oracle import Case
from fuzz.whole_steps import GARBAGE

_NAMES = ["embed", "blocks.0.w", "blocks.0.norm.weight", "blocks.1.w", "blocks.1.bias", "head.w", "head.bias",
          "stages.0.w"]  # fmt: skip
_RIGHT: dict[str, list[Any]] = {
    "lr": [0.1, None, 1],
    "weight_decay": [0.01, 0, None],
    "no_decay": [None, ("bias",), ["*norm*", "head"], lambda name, array: array.ndim < 2],
    "lr_scale": [None, {"head": 10}, {"blocks.?": 0.5, "*": 2.0}, lambda name, array: 3.0],
    "layer_decay": [None, 0.5, 1.0],
    "layer_of": [None, len],
}
_WRONG: list[Any] = [
    *GARBAGE, lambda *_: None, lambda *_: "x", lambda *_: -1, lambda *_: np.ones(2), lambda *_: 10**400,
    {"head": None}, {"nobody": 1}, {3: 1}, {"head": -1}, ["nobody"], [3], "bias", {"head": [1]}, ("",),
]  # fmt: skip


def attack(case: Case) -> None:
    """Make groups by some rules, of which one may be garbage, and give them to an optimizer."""
    choose = case.choose
    names = [name for name in _NAMES if choose.one_in(2)]
    params: dict[str, Any] = {name: np.ones(choose.of([(2, 2), (3,), (1,)])) for name in names}
    if choose.one_in(3):
        params = {name: nn.Parameter(array, name) for name, array in params.items()}
    rules = {key: choose.of(values) for key, values in _RIGHT.items() if choose.one_in(3)}
    bad = "-"
    if choose.one_in(2):
        bad = choose.of(list(_RIGHT))
        rules[bad] = choose.of(_WRONG)
    given: Any = choose.of([params, params, list(params.items())])
    if choose.one_in(4) and names:
        bad, name = "parameters", choose.of(names)
        made = bad_array(case, np.ones((2, 2)))
        given = choose.of([
            {**params, name: made.value}, [*params.items(), (name, made.value)], [made.value], [(made.value, name)],
            made.value, [(name,)], {3: np.ones(2)},
        ])  # fmt: skip
    accepted, found = case.attempt("groups", lambda: optim.groups(given, **rules), bad=bad, owners=("groups",))
    if not accepted or bad == "parameters":
        return
    members = [pair for group in found for pair in group["params"]]
    if sorted(name for name, _ in members) != sorted(names) or any(params[n] is not value for n, value in members):
        case.fail("WRONG", "groups", bad, "-", f"{found!r:.200} of {names}")
    if names:
        case.attempt("AdamW()", lambda: optim.AdamW(found), bad=bad, mutation="of groups()", expected="accept")

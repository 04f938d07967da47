"""Plans that do something beside an optimizer's steps, by a rule whose hyper-parameters never change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine import _core

Array = np.ndarray[Any, Any]


def constant_plan(
    owner: str,
    arrays: Iterable[tuple[_core.Pinned, int, Array]],
    made: Array,
    rule: str,
    numbers: Sequence[Mapping[str, float]],
) -> _core.Plan:
    """Return a plan of a rule that keeps nothing.

    Args:
        owner: whose it is, for messages.
        arrays: what it updates: each with the position of its group and its step count.
        made: counts the steps.
        rule: the rule's name.
        numbers: for each group, the rule's hyper-parameters.
    """
    given = list(arrays)
    plan = _core.Plan(owner, given, made, np.zeros((), np.int64))
    for group, constants in enumerate(numbers):
        plan.set_group(group, _core.Binding(owner, rule, "none", {**constants}, {}, ()), {})
    for i in range(len(given)):
        plan.bind(i, rule, {}, {})
    return plan

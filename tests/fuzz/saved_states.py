"""Saved states with one thing damaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from fuzz.bad_arrays import bad_array
from fuzz.oracle import Case

Array = np.ndarray[Any, Any]

_GARBAGE = [
    None, "x", -1, 0, 3.5, float("nan"), float("inf"), 1 << 63, 1 << 64, -(1 << 70), [], {}, (), [1, 2], b"", True, 1j,
    object(),
]  # fmt: skip


def damaged(case: Case, saved: dict[str, Any]) -> tuple[Any, str, str]:
    """Return a saved state with something removed, added, or replaced; what was done where; and by what."""
    choose = case.choose
    if choose.one_in(20):
        value = choose.of(_GARBAGE)
        return value, "all replaced", type(value).__name__
    inside: Any = saved
    path = []
    while True:
        # Not how many iterations Muon makes: it would make as many as garbage asks for.
        keys = [k for k in inside if k != "ns_steps"] if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            return saved, "nothing", "-"
        key = choose.of(keys)
        path.append(key if isinstance(key, str) else "#")
        deeper = inside[key]
        if not isinstance(deeper, dict | list) or not deeper or choose.one_in(4):
            break
        inside = deeper
    where = ".".join(path[:3])
    kind = choose.below(4)
    if kind == 0:
        del inside[key]
        return saved, f"{where} removed", "-"
    if kind == 1 and isinstance(inside, dict):
        inside[choose.of(["unheard_of", 99, -1, None, (1,)])] = choose.of(_GARBAGE)
        return saved, f"{where}: a key added", "-"
    if kind == 2 and isinstance(deeper, np.ndarray) and deeper.dtype.kind == "f":
        bad = bad_array(case, deeper)
        inside[key] = bad.value
        return saved, f"{where} replaced", bad.name
    value = choose.of(_GARBAGE)
    inside[key] = value
    return saved, f"{where} replaced", repr(value)[:20].split(" at ")[0]

"""Modifiers: what becomes of a rule's update of a parameter before it is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ravine._hyper import Range, flag, none_or, positive

_LIMIT = none_or(replace(positive, expected="a finite number above 0, or None"), math.inf)


def _no_limit(reason: str) -> Range:
    return replace(_LIMIT, expected=f"None, since {reason}", low=math.inf)


# The hyper-parameters that a group need not have, and their ranges.
MODIFIERS: dict[str, Range] = {
    "cautious": flag,
    "max_update_rms": _LIMIT,
    "max_grad_rms": _no_limit("only Adam and AdamW have this limit; max_update_rms is one for all"),
}

ADAM_MODIFIERS = {**MODIFIERS, "max_grad_rms": _LIMIT}


def no_modifiers(reason: str) -> dict[str, Range]:
    """Return the ranges of an optimizer of which nothing can be modified, given why, as it goes on after "since"."""
    return {
        "cautious": Range(f"False, since {reason}", low=0, high=0, kind="flag", outside=""),
        "max_update_rms": _no_limit(reason),
        "max_grad_rms": _no_limit(reason),
    }


def check_modifiers(where: str, group: Mapping[str, Any]) -> None:
    """Raise where modifiers, each right by itself, do not go together."""
    update, grad = group.get("max_update_rms"), group.get("max_grad_rms")
    if update is not None and grad is not None:
        raise ValueError(
            f"{where}max_update_rms={update!r} with max_grad_rms={grad!r}; expected one limit or the other."
        )

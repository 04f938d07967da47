"""Where an optimizer's groups have their momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._hyper import Check
from ravine.optim.optimizer import Optimizer


def momentum_key(optimizer: Optimizer) -> str | None:
    """Return the key of what corresponds to momentum: "betas" (the first), "momentum", or None."""
    return "betas" if "betas" in optimizer.defaults else "momentum" if "momentum" in optimizer.defaults else None


def momentum_check(optimizer: Optimizer) -> Check:
    """Return an optimizer's own check of its momentum, or first beta."""
    if momentum_key(optimizer) == "momentum":
        return optimizer._checks["momentum"]
    check, others = optimizer._checks["betas"], optimizer.defaults["betas"][1:]
    return lambda where, value: check(where, (value, *others))[0]


def get_momentum(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """Return a group's momentum, or first beta."""
    return float(group["betas"][0] if momentum_key(optimizer) == "betas" else group["momentum"])


def set_momentum(optimizer: Optimizer, values: Iterable[float]) -> None:
    """Set each group's momentum, or first beta."""
    betas = "betas" in optimizer.defaults
    for group, value in zip(optimizer.param_groups, values):  # noqa: B905
        if betas:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

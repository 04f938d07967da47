"""The forms in which parameters may come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ravine._arrays import as_array, describe


def group_prefix(owner: str, group: int) -> str:
    """Return how a message about a group begins."""
    return f"{owner}: " if group == 0 else f"{owner}: param_groups[{group}]: "


def _is_single(value: object, where: str) -> bool:
    return hasattr(value, "grad") or as_array(value, where) is not None


def as_groups(owner: str, params: object) -> list[Mapping[str, Any]]:
    """Return an optimizer's argument `params` as a list of group dicts."""
    if isinstance(params, Mapping):
        return [{"params": params}]
    if _is_single(params, f"{owner}: params"):
        raise TypeError(f"{owner}: params is {describe(params)}; expected a list of arrays. Pass [array].")
    items = _as_list(owner, "params", params)
    if any(isinstance(item, Mapping) for item in items):
        return items
    return [{"params": items}]


def as_named(owner: str, prefix: str, params: object) -> list[tuple[str | None, Any]]:
    """Return a group's "params" as pairs of name (or None) and parameter."""
    if isinstance(params, Mapping):
        items = list(params.items())
        if not items:
            raise ValueError(f"{owner}: {prefix} is empty; give at least one array to update.")
    elif _is_single(params, f"{owner}: {prefix}"):
        return [(None, params)]
    else:
        items = _as_list(owner, prefix, params)
    pairs = [isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in items]
    if all(pairs):
        return items
    if any(pairs):
        raise ValueError(
            f"{owner}: {prefix}[{pairs.index(False)}] has no name while others have one; name all or none."
        )
    return [(None, item) for item in items]


def _as_list(owner: str, prefix: str, params: object) -> list[Any]:
    if isinstance(params, set | frozenset):
        raise TypeError(f"{owner}: {prefix} is a set, whose order changes from run to run; pass a list.")
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise TypeError(f"{owner}: {prefix} is {describe(params)}; expected a list of arrays.")
    items = list(params)
    if not items:
        raise ValueError(f"{owner}: {prefix} is empty; give at least one array to update.")
    return items

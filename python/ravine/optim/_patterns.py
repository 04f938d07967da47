"""Patterns that name parameters."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from ravine._arrays import describe
from ravine._hyper import shown

Key = TypeVar("Key", bound=Hashable)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern is one whole component of a name, between its dots, or several in a row.

    In each component *, ? and [...] are wildcards, as in names of files; upper and lower case differ.

    >>> [matches("bias", name) for name in ("bias", "head.bias", "head.bias_mask")]
    [True, True, False]
    >>> [matches("blocks.?.norm*", name) for name in ("net.blocks.0.norm1.weight", "blocks.10.norm1.weight")]
    [True, False]
    """
    wanted, components = pattern.split("."), name.split(".")
    return any(
        all(map(fnmatchcase, components[begin : begin + len(wanted)], wanted))
        for begin in range(len(components) - len(wanted) + 1)
    )


def matching(where: str, patterns: Iterable[object], names: Mapping[Key, str]) -> list[Key]:
    """Return the keys of the names that one of the patterns matches, in the order of the names.

    Raises:
        TypeError, ValueError: a pattern is no text, or matches nothing. The message begins with `where`.
    """
    found: set[Key] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{where}: a pattern is {describe(pattern)}; expected text such as 'bias' or 'blocks.0'.")
        matched = [key for key, name in names.items() if matches(pattern, name)]
        if not matched:
            raise ValueError(
                f"{where}: {pattern!r} matches no name of a parameter: expected one or more whole components, between "
                f"the dots. The names are {shown(list(names.values()))}."
            )
        found.update(matched)
    return [key for key in names if key in found]

"""Functions that users register to be called before and after an optimizer does something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Hook = Callable[..., Any]


class RemovableHandle:
    """What registering a hook returns: call `remove()`, or leave its `with` block, to take the hook away."""

    def __init__(self, hooks: Hooks, place: int = 0) -> None:
        self._hooks = hooks
        self.place = place  # by which they are called in order

    def remove(self) -> None:
        """Take the hook away; nothing happens where it has gone already."""
        self._hooks.pop(self, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Hooks(dict[RemovableHandle, Hook]):
    """The hooks of one occasion."""

    def add(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Register a hook, last or first."""
        places = [handle.place for handle in list(self)]
        handle = RemovableHandle(self, min(places, default=0) - 1 if prepend else max(places, default=0) + 1)
        self[handle] = hook
        return handle

    def in_order(self) -> list[Hook]:
        """Return the hooks as they stand now, so that a hook may register or remove others."""
        if len(self) < 2:
            return list(self.values())
        return [hook for _, hook in sorted(self.items(), key=lambda item: item[0].place)]

"""Functions that users register to be called before and after an optimizer does something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Hook = Callable[..., Any]


class RemovableHandle:
    """What registering a hook returns: call `remove()`, or leave its `with` block, to take the hook away."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def remove(self) -> None:
        """Take the hook away; nothing happens where it has gone already."""
        self._hooks.pop(self, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Hooks(dict[RemovableHandle, Hook]):
    """The hooks of one occasion, in the order in which they are called."""

    def add(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Register a hook, last or first."""
        handle = RemovableHandle(self)
        before = {} if prepend else dict(self)
        after = dict(self) if prepend else {}
        self.clear()
        self.update({**before, handle: hook, **after})
        return handle

    def in_order(self) -> list[Hook]:
        """Return the hooks as they stand now, so that a hook may register or remove others."""
        return list(self.values())

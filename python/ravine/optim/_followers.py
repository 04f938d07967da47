"""What a Handoff tells of its hand-overs: the schedules over it."""

from __future__ import annotations

import weakref
from typing import Protocol


class Follower(Protocol):
    """What follows from stage to stage: a schedule."""

    def _restart(self) -> None:
        """Begin again, with the stage now at work."""

    def _rebind(self) -> None:
        """Go on, with the stage now at work, as its saved state will say."""


class Followers:
    """Followers in the order in which they came, each as long as somebody else holds it."""

    def __init__(self) -> None:
        self._references: list[weakref.ref[Follower]] = []

    def add(self, follower: Follower) -> None:
        """Add one, last."""
        self._references.append(weakref.ref(follower))

    def alive(self) -> list[Follower]:
        """Return those that somebody still holds."""
        found = [(reference, reference()) for reference in self._references]
        self._references = [reference for reference, follower in found if follower is not None]
        return [follower for _, follower in found if follower is not None]

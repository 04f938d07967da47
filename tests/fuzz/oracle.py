"""What a call may do: be right, or be refused by an error that names something with every byte as before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fuzz.choices import Choices
from fuzz.memory import Arena, frozen

Array = np.ndarray[Any, Any]

ALLOWED = (TypeError, ValueError, RuntimeError)
# What Python and NumPy say by themselves where nobody has checked.
_RAW = re.compile(
    r"has no attribute|unsupported operand|not subscriptable|cannot unpack|not supported between|has no len|unhashable"
    r"|not iterable|could not be broadcast|must be real number|incompatible (function|constructor) arguments"
    r"|invalid literal|could not convert|is ambiguous|object of type|zip\(\) argument|std::|bad_alloc|NULL"
)


# An error that says which parameter, group or hyper-parameter it is about names something too.
_NAMED = ("params[", "param_groups[", "hyper-parameter '")


class Deliberate(Exception):
    """Raised by user code that a case brings; it has to come through as it is."""


class Failure(NamedTuple):
    """Something that must not happen."""

    kind: str  # CHANGED, WRONG, ACCEPTED, REFUSED, RAW, or CRASH and HANG, which the parent process finds
    entry: str
    bad: str
    mutation: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.entry} | {self.bad} | {self.mutation} | {self.detail}"


class Ended(Exception):
    """Nothing more can be said of this case."""


class Case:
    """One case: its choices, its memory, what has been tried and what has gone wrong."""

    def __init__(self, choose: Choices, say: Callable[[str], None] | None = None) -> None:
        self.choose = choose
        self.arena = Arena()
        self.failures: list[Failure] = []
        self.tried: Counter[tuple[str, str, str, str]] = Counter()
        self.watched: list[Callable[[], Any]] = [self.arena.buffer.tobytes]
        self._say = say

    def say(self, text: str) -> None:
        """Tell what is done next, where somebody listens: the process may be gone after it."""
        if self._say is not None:
            self._say(text)

    def watch(self, look: Callable[[], Any]) -> None:
        """Have what `look` returns compared around each refused call."""
        self.watched.append(look)

    def snapshot(self) -> list[Any]:
        return [frozen(look()) for look in self.watched]

    def fail(self, kind: str, entry: str, bad: str, mutation: str, detail: str) -> None:
        self.failures.append(Failure(kind, entry, bad, mutation, detail))

    def attempt(
        self,
        entry: str,
        call: Callable[[], Any],
        *,
        bad: str = "-",
        mutation: str = "-",
        expected: str = "either",
        owners: tuple[str, ...] = (),
        also: tuple[type[BaseException], ...] = (),
        may_change: bool = False,
        quotes: bool = False,
    ) -> tuple[bool, Any]:
        """Make a call.

        Args:
            entry: the public entry point, for the count and for messages.
            call: makes it.
            bad: the class of the bad array in it, "-" for none.
            mutation: what has been done before it, "-" for nothing.
            expected: "accept", "refuse", or "either".
            owners: the error must mention one of these.
            also: further exceptions that it may raise.
            may_change: whether user code runs in it, so that a refused call need not leave all as before.
            quotes: whether its error may add what Python says, behind what it names itself.

        Returns:
            Whether it was accepted, and its result.
        """
        self.say(f"{entry} | {bad} | {mutation}")
        before = None if may_change else self.snapshot()
        try:
            result = call()
        except Deliberate:
            outcome = "refused"
        except also:
            outcome = "refused"
        except ALLOWED as error:
            outcome = "refused"
            text = str(error)
            if isinstance(error, UnicodeError | RecursionError | NotImplementedError) or (
                not quotes and _RAW.search(text)
            ):
                self.fail("RAW", entry, bad, mutation, f"{type(error).__name__}: {text[:200]}")
            elif owners and not any(owner in text for owner in (*owners, *_NAMED)):
                self.fail("RAW", entry, bad, mutation, f"names nothing: {type(error).__name__}: {text[:200]}")
            if expected == "accept":
                self.fail("REFUSED", entry, bad, mutation, f"{type(error).__name__}: {text[:200]}")
        except Exception as error:
            outcome = "refused"
            self.fail("RAW", entry, bad, mutation, f"{type(error).__name__}: {str(error)[:200]}")
        else:
            self.tried[entry, bad, mutation, "accepted"] += 1
            if expected == "refuse":
                self.fail("ACCEPTED", entry, bad, mutation, "what cannot be right was accepted")
                raise Ended
            return True, result
        self.tried[entry, bad, mutation, outcome] += 1
        if before is not None:
            after = self.snapshot()
            if before != after:
                what = ", ".join(str(i) for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
                self.fail("CHANGED", entry, bad, mutation, f"refused, but changed: watched {what}")
                raise Ended
        return False, None

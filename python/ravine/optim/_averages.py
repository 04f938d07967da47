"""Averages of the parameters, which the compiled part renews in the pass of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine import _core
from ravine._hyper import whole
from ravine._saved import is_list, listed, noted, of_array
from ravine.optim._parameters import Record
from ravine.optim._state import new_like

Array = np.ndarray[Any, Any]

_PLACE = 5  # behind a parameter and as many states as there are: see new_like


class Averages:
    """An array for each parameter of an optimizer.

    Args:
        owner: whose they are, for messages.
        decay: how much of an average stays at each update; None: the mean of all that has been.
        warmup: whether less stays at the beginning.
        every: how many steps there are from one update to the next.
    """

    def __init__(self, owner: str, decay: float | None, warmup: bool = False, every: int = 1) -> None:
        self.owner = owner
        self.decay, self.warmup, self.every = decay, warmup, every
        self.arrays: list[Array] = []
        self.steps: Array = np.zeros((), np.int64)  # the compiled part advances it
        self.before: list[Array] | None = None  # what the parameters were, where they are the averages for now
        self.applied_by: object = None  # who has put them there

    @property
    def updates(self) -> int:
        """How many updates there have been."""
        return int(self.steps) // self.every

    def cover(self, records: Sequence[Record]) -> None:
        """Begin the averages of parameters that have none yet: as they are."""
        for record in records[len(self.arrays) :]:
            self.arrays.append(new_like(record.array, record.array, _PLACE, record.array.shape))

    def _of(self, records: Sequence[Record]) -> list[tuple[Record, Array]]:
        """Return each parameter with its average."""
        if len(records) != len(self.arrays):
            raise ValueError(
                f"{self.owner}: there are {len(records)} parameters, and averages of {len(self.arrays)}. Add a group "
                "to every stage of a Handoff."
            )
        return list(zip(records, self.arrays, strict=True))

    def check(self, records: Sequence[Record]) -> None:
        """Raise where somebody has made of an average what cannot take new values."""
        for record, array in self._of(records):
            where = f"{self.owner}: the average of {record.label}"
            of_array(record.array.dtype, record.array.shape)(where, array)
            if not array.flags.writeable:
                raise ValueError(f"{where} is read-only. Set arr.flags.writeable = True.")

    def give_to(self, plan: _core.Plan, records: Sequence[Record]) -> None:
        """Let a plan of these parameters renew them."""
        pinned = [
            _core.Pinned(array, self.owner, f"the average of {record.label}") for record, array in self._of(records)
        ]
        plan.set_averages(pinned, self.decay, self.warmup, self.every, self.steps)

    def check_not_applied(self, where: str) -> None:
        """Raise where something would go on from the averages instead of the parameters."""
        if self.before is not None:
            raise RuntimeError(
                f"{where}: the parameters are the averages, within applied(). Leave that block first, or "
                "call restore()."
            )

    def __getstate__(self) -> dict[str, Any]:
        self.check_not_applied(f"{self.owner}: a copy")
        return self.__dict__

    # --- saving

    def saved(self) -> dict[str, Any]:
        """Return them as copies, and how many steps they have seen."""
        return {"steps": int(self.steps), "arrays": [array.copy(order="K") for array in self.arrays]}

    def loader(self, records: Sequence[Record]) -> Callable[[Any, list[str]], Callable[[], None]]:
        """Return what checks saved averages of these parameters: see `_saved.py`."""

        def load(saved: Any, problems: list[str]) -> Callable[[], None]:
            if not isinstance(saved, Mapping) or not {"steps", "arrays"} <= saved.keys():
                problems.append("expected a dict of 'steps' and 'arrays'")
                return lambda: None
            problems += [f"unknown {name!r}" for name in saved if name not in ("steps", "arrays")]
            steps = noted(whole, "'steps'", saved["steps"], problems)
            given = saved["arrays"]
            if not is_list(given) or len(given) != len(records):
                problems.append(f"'arrays' is not a list of {len(records)} arrays")
                return lambda: None
            with listed(problems):
                self.check(records)
            copies = [
                noted(of_array(record.array.dtype, record.array.shape), f"that of {record.label}", value, problems)
                for record, value in zip(records, given, strict=True)
            ]

            def take_over() -> None:
                for array, copy in zip(self.arrays, copies, strict=True):
                    array[...] = copy
                self.steps[...] = steps

            return take_over

        return load

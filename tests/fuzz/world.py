"""An optimizer of the table of cases under attack, with its model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CASES
from ravine import nn

from fuzz.models import everything
from fuzz.oracle import Case, Ended

Array = np.ndarray[Any, Any]
SHAPES = [(1,), (3,), (8,), (17,), (2, 3), (3, 2), (4, 4), (2, 1, 3), (0,), (3, 0), (1, 1)]
MATRICES = [(2, 3), (3, 2), (4, 4), (1, 5), (5, 1), (1, 1), (0, 4), (3, 0)]


class Thing:
    """An object with `.data` and `.grad`, as torch's parameters are."""

    def __init__(self, data: Any) -> None:
        self.data, self.grad = data, None


class World:
    """An optimizer under attack, with its model."""

    def __init__(self, case: Case) -> None:
        choose = case.choose
        self.case = case
        self.spec = choose.of(CASES)
        self.name = self.spec.name
        self.config = dict(choose.of(self.spec.configs))
        self.form = choose.of(["array", "array", "Parameter", "object"])
        self.named = choose.one_in(3)
        self.arrays = [self.new_array() for _ in range(1 + choose.below(3))]
        split = choose.below(len(self.arrays)) if choose.one_in(3) else 0
        self.sizes = [split, len(self.arrays) - split] if split else [len(self.arrays)]
        self.params = [self.wrapped(i, array) for i, array in enumerate(self.arrays)]
        self.optimizer: Any = None
        self.model: Any = None
        self.exact = True  # whether the model still knows everything

    def new_array(self) -> Array:
        """Return an array for a parameter."""
        choose = self.case.choose
        shape = choose.of(MATRICES if self.spec.matrices else SHAPES)
        dtype = choose.of([np.float32, np.float64])
        order: Any = choose.of(["C", "C", "F"] if len(shape) == 2 or self.name != "Adafactor" else ["C"])
        # One that owns its memory can be resized.
        array = np.empty(shape, dtype, order) if choose.one_in(3) else self.case.arena.array(shape, dtype, order)
        choose.fill(array)
        self.case.watch(lambda: array)
        return array

    def wrapped(self, i: int, array: Any) -> Any:
        if self.form == "Parameter":
            return nn.Parameter(array, name=f"p{i}")
        return Thing(array) if self.form == "object" else array

    def groups(self, params: list[Any]) -> Any:
        """Return parameters in the form in which the optimizer is given them."""
        items = [(f"p{i}", param) for i, param in enumerate(params)] if self.named else params
        if len(self.sizes) == 1:
            return dict(items) if self.named and self.case.choose.one_in(2) else items
        first = self.sizes[0]
        return [{"params": items[:first]}, {"params": items[first:], "lr": 0.05}]

    def settings(self) -> list[tuple[list[Array], dict[str, Any]]]:
        if len(self.sizes) == 1:
            return [(self.arrays, self.config)]
        first = self.sizes[0]
        return [(self.arrays[:first], self.config), (self.arrays[first:], {**self.config, "lr": 0.05})]

    def gradient(self, i: int) -> Array:
        """Return a good gradient in some memory."""
        p, choose = self.arrays[i], self.case.choose
        order: Any = "F" if p.flags.f_contiguous and not p.flags.c_contiguous else "C"
        return choose.fill(self.case.arena.array(p.shape, p.dtype, order))

    def gradients(self) -> list[Array | None]:
        """Return good gradients; some of them are missing."""
        missing = not self.spec.together and self.case.choose.one_in(3)
        return [None if missing and self.case.choose.one_in(2) else self.gradient(i) for i in range(len(self.arrays))]

    def written(self) -> list[Array]:
        """Return what a step writes to."""
        states = [value for r in self.optimizer._records for value in r.states.values()]
        averages = self.optimizer._averages
        return [*self.arrays, *states, *([] if averages is None else averages.arrays)]

    def look(self) -> Any:
        return everything(self.optimizer)

    # --- steps

    def step(
        self, values: list[Any], gradients: list[Array | None], *, bad: str = "-", mutation: str = "-",
        expected: str = "accept", form: str = "", asked: dict[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """Make a step with `values`, which stand for the gradients; compare with the model where it is accepted.

        `asked` are keywords of the step.
        """
        copies = [None if g is None else np.array(g, order="K") for g in gradients]
        entry, call = self.form_of_step(values, form, asked or {})
        if call is None:
            return False
        accepted, _ = self.case.attempt(
            entry, call, bad=bad, mutation=mutation, expected=expected, owners=(self.name, "Parameter"),
        )  # fmt: skip
        if accepted:
            self.stepped(entry, copies, asked or {}, bad, mutation)
            self.check_zeroed(entry, gradients, asked or {}, bad, mutation)
        return accepted

    def check_zeroed(
        self, entry: str, gradients: list[Array | None], asked: dict[str, Any], bad: str = "-", mutation: str = "-"
    ) -> None:
        """See that gradients are zero where that was asked for."""
        if asked.get("zero_grad") and any(g is not None and np.asarray(g).any() for g in gradients):
            self.case.fail("WRONG", entry, bad, mutation, "a gradient is not zero")
            raise Ended

    def stepped(
        self, entry: str, gradients: list[Array | None], asked: dict[str, Any], bad: str = "-", mutation: str = "-",
        rows: Array | None = None,
    ) -> None:  # fmt: skip
        """Let the model make a step that has been accepted, and compare.

        Args:
            entry, bad, mutation: for messages.
            gradients: of each parameter.
            asked: keywords of the step.
            rows: those that the only gradient there is names, each once.
        """
        expected, seen = self.model.asked_for(gradients, asked)
        last = self.optimizer.last_step
        same = last.applied == expected.applied and (last.norm is None) == (expected.norm is None)
        if expected.norm is not None:
            same = same and np.isclose(last.norm, expected.norm, rtol=1e-12, atol=0, equal_nan=True)
            # Of the very norm: a rounding apart, parameters are others.
            exact, seen = self.model.asked_for(gradients, asked, last.norm)
            same = same and np.array_equal(last.clip_coefficient, exact.clip, equal_nan=True)
        if not same:
            self.case.fail("WRONG", entry, bad, mutation, f"{last} instead of {expected}, asked for {asked}")
            raise Ended
        if expected.applied and rows is None:
            self.model.step(seen)
        elif expected.applied:
            i = next(i for i, g in enumerate(seen) if g is not None)
            self.model.step_sparse(i, rows, seen[i])
        self.compare(entry, bad, mutation)

    def form_of_step(
        self, values: list[Any], form: str = "", asked: dict[str, Any] | None = None
    ) -> tuple[str, Callable[[], Any] | None]:
        """Choose how gradients are handed over; return the entry point and what calls it."""
        choose, optimizer = self.case.choose, self.optimizer
        forms = ["list", "tuple", "generator", "closure"]
        if self.named or self.form == "Parameter":
            forms += ["dict"]
        if len(self.sizes) > 1:
            forms += ["groups"]
        if self.form != "array":
            forms += [".grad", ".grad", ".grad"]
        form = form or choose.of(forms)
        asked = asked or {}
        entry = f"{self.name}.step({form})" if not asked else f"{self.name}.step({form}, ...)"
        if form == "dict":
            named = {f"p{i}": value for i, value in enumerate(values)}
            return entry, lambda: optimizer.step(named, **asked)
        if form == "groups":
            first = self.sizes[0]
            return entry, lambda: optimizer.step([values[:first], values[first:]], **asked)
        if form == ".grad":
            return entry, self._set_grads(values, asked)
        if form == "closure":
            return entry, lambda: optimizer.step(list(values), closure=lambda: 1.0, **asked)
        container: Any = {"list": list, "tuple": tuple, "generator": iter}[form]
        return entry, lambda: optimizer.step(container(values), **asked)

    def _set_grads(self, values: list[Any], asked: dict[str, Any]) -> Callable[[], Any] | None:
        for param, value in zip(self.params, values, strict=True):
            self.case.attempt("Parameter.grad", lambda p=param, v=value: setattr(p, "grad", v), owners=("Parameter",))
            if value is not None and param.grad is None:
                return None
        return lambda: self.optimizer.step(**asked)

    def compare(self, entry: str, bad: str = "-", mutation: str = "-") -> None:
        if not self.exact:
            return
        problem = self.model.problem(self.optimizer)
        if problem is not None:
            self.case.fail("WRONG", entry, bad, mutation, problem)
            raise Ended


def usable_parameter(view: Array | None) -> bool:
    return (
        view is not None
        and view.dtype in (np.dtype(np.float32), np.dtype(np.float64))
        and view.dtype.isnative
        and view.ndim > 0
        and (view.flags.c_contiguous or view.flags.f_contiguous)
        and view.flags.aligned
        and view.flags.writeable
    )

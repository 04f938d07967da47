"""Attacks on what drives an optimizer: `Accumulator` and `GradScaler`, alone or one over the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CASES
from ravine import nn, optim

from fuzz.bad_arrays import bad_array
from fuzz.gradients import keywords, problem_of_gradient
from fuzz.memory import frozen
from fuzz.models import everything
from fuzz.mutations import mutate
from fuzz.oracle import Case, Ended
from fuzz.saved_states import damaged
from fuzz.whole_steps import GARBAGE

Array = np.ndarray[Any, Any]

_OPTIMIZERS = [case for case in CASES if not case.matrices]
_OF_THE_STEP = ("max_norm", "norm_type", "max_value", "skip_nonfinite")
_OWNERS = ("Accumulator", "GradScaler")


class Driven:
    """An optimizer that is driven, and a twin that makes the steps which should come of it.

    Attributes:
        sums: what should be pending for each parameter.
        count: how many micro-batches should be.
        scale, tracker: what the scaler's should be.
        stepped, found: what it has seen since the last update: a step, and something not finite.
    """

    def __init__(self, case: Case) -> None:
        choose = case.choose
        self.case = case
        spec = choose.of(_OPTIMIZERS)
        config = choose.of(spec.configs)
        arrays = [choose.fill(case.arena.array((2, 3), np.float32)), choose.fill(case.arena.array((4,), np.float64))]
        self.params = [nn.Parameter(array) for array in arrays]
        self.optimizer: Any = spec.optimizer(self.params, **config)
        self.twin: Any = spec.optimizer([array.copy() for array in arrays], **config)
        self.needs_all = spec.together
        self.every, self.average = choose.of([1, 2, 3]), choose.one_in(2)
        kind = choose.of(["accumulator", "scaler", "both"])
        self.accumulator: Any = None
        if kind != "scaler":
            self.accumulator = optim.Accumulator(self.optimizer, self.every, self.average)
        self.scaler: Any = None if kind == "accumulator" else optim.GradScaler(init_scale=16.0, growth_interval=2)
        self.sums: list[Array | None] = [None, None]
        self.count, self.scale, self.tracker = 0, 16.0, 0
        self.stepped = self.found = False
        case.watch(self.look)

    @property
    def target(self) -> Any:
        """What is given gradients, under the scaler where there is one."""
        return self.optimizer if self.accumulator is None else self.accumulator

    @property
    def entry(self) -> str:
        return "GradScaler.step" if self.accumulator is None else (
            "Accumulator.step" if self.scaler is None else "GradScaler.step(Accumulator)"
        )  # fmt: skip

    def call(self, grads: Any = None, **asked: Any) -> Any:
        """Give gradients."""
        if self.scaler is None:
            return self.accumulator.step(grads, **asked)
        return self.scaler.step(self.target, grads, **asked)

    def look(self) -> Any:
        """Return all that a refused call must leave."""
        seen, pending = [], []
        if self.scaler is not None:
            states = self.scaler._state.seen.values()
            seen = [self.scaler._saved(), [(s.stepped, s.found) for s in states if s != type(s)()]]
        if self.accumulator is not None:
            window = self.accumulator._window
            pending = [window.count, window.counts, window.sums, len(window.sparse)]
        return [everything(self.optimizer), [p.grad for p in self.params], pending, seen]

    def gradients(self) -> list[Array | None]:
        """Return good gradients; one may be missing."""
        choose = self.case.choose
        grads: list[Array | None] = [choose.fill(self.case.arena.array(p.shape, p.dtype)) for p in self.params]
        if not self.needs_all and choose.one_in(4):
            grads[choose.below(2)] = None
        return grads

    def step(self, values: list[Any], grads: list[Array | None], bad: str = "-", expected: str = "accept") -> None:
        """Give a micro-batch, of whose gradients `values` are the forms, and compare."""
        case, choose = self.case, self.case.choose
        asked = {key: value for key, value in keywords(choose).items() if key in _OF_THE_STEP}
        given: dict[str, Any] = dict(asked)
        if self.scaler is not None:
            given.pop("skip_nonfinite", None)
            asked["skip_nonfinite"] = True
            expected = "refuse" if self.stepped else expected
        own = choose.of([1.0, 1.0, 4.0])
        if own != 1:
            given["grad_scale"] = own
        if choose.one_in(3):
            given["zero_grad"] = True
        copies = [None if g is None else np.array(g, order="K") for g in grads]
        # What the optimizer cannot step with is pending: the Accumulator need not know.
        may_fail = self.accumulator is not None and self.count == self.every - 1 and bad == "SparseGrad"
        accepted, result = case.attempt(
            self.entry, lambda: self.call(values, **given), bad=bad, expected=expected, may_change=may_fail,
            owners=(*_OWNERS, type(self.optimizer).__name__),
        )  # fmt: skip
        if may_fail:
            raise Ended
        if not accepted:
            return
        if any(c is None and v is not None for c, v in zip(copies, values, strict=True)):
            raise Ended  # nobody knows what they stand for
        if "zero_grad" in given and any(g is not None and np.asarray(g).any() for g in grads):
            case.fail("WRONG", self.entry, bad, "-", "a gradient is not zero")
        scale = (1.0 if self.scaler is None else self.scale) * own
        if self.accumulator is None:
            self.twin.step(copies, grad_scale=scale, **asked)
            self.note_step()
        else:
            self.add(copies, scale)
            is_full = self.count == self.every
            if is_full:
                self.step_of_twin(asked)
            if result != (is_full and self.twin.last_step.applied):
                case.fail("WRONG", self.entry, bad, "-", f"returned {result}")
        self.compare(self.entry, bad)

    def add(self, grads: list[Array | None], scale: float) -> None:
        """Add a micro-batch to what should be pending."""
        with np.errstate(all="ignore"):
            self.sums = [
                s if g is None else (np.zeros_like(g) if s is None else s) + g.dtype.type(1 / scale) * g
                for s, g in zip(self.sums, grads, strict=True)
            ]
        self.count += 1

    def step_of_twin(self, asked: dict[str, Any]) -> None:
        """Let the twin step with the sums."""
        self.twin.step(self.sums, grad_scale=float(self.count) if self.average else None, **asked)
        self.sums, self.count = [None, None], 0
        self.note_step()

    def note_step(self) -> None:
        self.stepped = True
        self.found = self.found or not self.twin.last_step.applied

    def compare(self, entry: str, bad: str = "-", mutation: str = "-") -> None:
        """See that all is as the twin has it."""
        # Groups hold what they were given, which for the twin is other objects.
        ours, theirs = (str([each[0], *each[2:]]) for each in (
            frozen(everything(optimizer), identities=False)[1:] for optimizer in (self.optimizer, self.twin)
        ))  # fmt: skip
        problem = None if ours == theirs else "the optimizer is not as its twin"
        if self.accumulator is not None:
            saved = self.accumulator.state_dict()
            if saved["pending"] != self.count or not all(map(_same, saved["sums"], self.sums)):
                problem = f"{saved} is pending instead of {self.count}, {self.sums}"
        if self.scaler is not None and self.scaler.get_scale() != self.scale:
            problem = f"the scale is {self.scaler.get_scale()} instead of {self.scale}"
        if problem is not None:
            self.case.fail("WRONG", entry, bad, mutation, problem)
            raise Ended


def _same(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=True)


def attack(case: Case) -> None:
    """Micro-batches, steps and updates, and something wrong between them."""
    driven = Driven(case)
    for _ in range(2 + case.choose.below(7)):
        case.choose.of(ATTACKS)(driven)


def good(driven: Driven) -> None:
    grads = driven.gradients()
    driven.step(list(grads), grads)


def bad_gradient(driven: Driven) -> None:
    """One gradient of a micro-batch is a bad array."""
    choose = driven.case.choose
    i, grads = choose.below(2), driven.gradients()
    p = driven.params[i].data
    made = bad_array(driven.case, choose.fill(np.empty_like(p)), [param.data for param in driven.params])
    values: list[Any] = list(grads)
    values[i], grads[i] = made.value, made.view
    driven.case.watch(lambda: made.view)
    expected = "either"
    if made.value is not None and not isinstance(made.value, optim.SparseGrad | nn.Parameter):
        expected = problem_of_gradient(made.view, p, [])
    driven.step(values, grads, made.name, expected)


def updated(driven: Driven) -> None:
    """The scale changes."""
    if driven.scaler is None:
        return
    is_waiting = driven.accumulator is not None
    accepted, _ = driven.case.attempt(
        "GradScaler.update", driven.scaler.update, owners=("GradScaler",),
        expected="accept" if driven.stepped else "either" if is_waiting else "refuse",
    )  # fmt: skip
    if accepted and driven.stepped:
        driven.tracker = 0 if driven.found else driven.tracker + 1
        if driven.found:
            driven.scale /= 2
        elif driven.tracker == 2:
            driven.scale, driven.tracker = driven.scale * 2, 0
        driven.stepped = driven.found = False
    driven.compare("GradScaler.update")


def flushed(driven: Driven) -> None:
    """What is pending makes a step, or is dropped."""
    if driven.accumulator is None:
        return
    if driven.case.choose.one_in(3):
        driven.case.attempt("Accumulator.reset", driven.accumulator.reset, expected="accept")
        driven.sums, driven.count = [None, None], 0
    else:
        driven.case.attempt("Accumulator.flush", driven.accumulator.flush, expected="accept")
        seen = driven.stepped, driven.found
        if driven.count:
            driven.step_of_twin({})
        driven.stepped, driven.found = seen  # the scaler has no part in it
    driven.compare("Accumulator.flush")


def loaded(driven: Driven) -> None:
    """Save and load, or load what is damaged."""
    case = driven.case
    part = case.choose.of([each for each in (driven.accumulator, driven.scaler) if each is not None])
    name = type(part).__name__
    saved = part.state_dict()
    if case.choose.one_in(2):
        if part is driven.scaler:
            driven.stepped = driven.found = False  # which is not saved
        case.attempt(f"{name}.load_state_dict", lambda: part.load_state_dict(saved), expected="accept")
        driven.compare(f"{name}.load_state_dict")
        return
    saved, where, value = damaged(case, saved)
    accepted, _ = case.attempt(f"{name}.load_state_dict", lambda: part.load_state_dict(saved), bad=value,
                               mutation=where, owners=(name,))  # fmt: skip
    if accepted:
        grads = driven.gradients()
        case.attempt(driven.entry, lambda: driven.call(grads), bad=value, mutation=f"loaded: {where}",
                     owners=(*_OWNERS, type(driven.optimizer).__name__))  # fmt: skip
        raise Ended


def garbage(driven: Driven) -> None:
    """An argument is garbage."""
    case, choose = driven.case, driven.case.choose
    value = choose.of([*GARBAGE, 1 << 60, -5, driven.optimizer, lambda: 1])
    key = choose.of([*_OF_THE_STEP, "grad_scale", "zero_grad", "total_norm", "unheard_of"])
    grads = [np.ones_like(p.data) for p in driven.params]
    option = choose.of(["init_scale", "growth_factor", "backoff_factor", "growth_interval", "enabled"])
    made: dict[str, Callable[[], Any]] = {
        "Accumulator(every)": lambda: optim.Accumulator(driven.optimizer, every=value),
        "Accumulator(optimizer)": lambda: optim.Accumulator(value, every=2),
        f"GradScaler({option})": lambda: optim.GradScaler(**{option: value}),
    }
    calls: dict[str, Callable[[], Any]] = {f"{driven.entry}: {key}": lambda: driven.call(grads, **{key: value})}
    if driven.accumulator is not None:
        calls[f"Accumulator.flush: {key}"] = lambda: driven.accumulator.flush(**{key: value})
    if driven.scaler is not None:
        setter = f"set_{choose.of(['growth_factor', 'backoff_factor', 'growth_interval'])}"
        made["GradScaler.scale"] = lambda: driven.scaler.scale(choose.of([value, [value], {"a": (value, 1.0)}]))
        calls |= {
            "GradScaler.step(optimizer)": lambda: driven.scaler.step(value, grads),
            "GradScaler.unscale_(optimizer)": lambda: driven.scaler.unscale_(value),
            "GradScaler.update(new_scale)": lambda: driven.scaler.update(value),
            f"GradScaler.{setter}": lambda: getattr(driven.scaler, setter)(value),
        }
    entry = choose.of([*made, *calls])
    accepted, _ = case.attempt(entry, {**made, **calls}[entry], bad="garbage", owners=(*_OWNERS, key))
    if accepted and entry in calls:  # it was none
        raise Ended


def failing(driven: Driven) -> None:
    """The step at the end of a window fails: all micro-batches are pending, for a later one."""
    case, accumulator = driven.case, driven.accumulator
    if accumulator is None or driven.scaler is not None or driven.count != driven.every - 1:
        return
    group = driven.optimizer.param_groups[0]
    kept, group["lr"] = group["lr"], "x"
    grads: list[Array | None] = [case.choose.fill(np.empty_like(p.data)) for p in driven.params]
    owners = (*_OWNERS, type(driven.optimizer).__name__)
    case.attempt(driven.entry, lambda: accumulator.step(grads), mutation="lr garbage", expected="refuse",
                 owners=owners, may_change=True)  # fmt: skip
    driven.add(grads, 1.0)
    for again in (accumulator.flush, lambda: accumulator.step(grads)):
        case.attempt(driven.entry, again, mutation="lr garbage, again", expected="refuse", owners=owners)
    group["lr"] = kept
    driven.compare(driven.entry, mutation="lr garbage")
    case.attempt("Accumulator.flush", accumulator.flush, mutation="lr garbage, mended", expected="accept")
    driven.step_of_twin({})
    driven.compare("Accumulator.flush", mutation="lr garbage, mended")


def unscaled(driven: Driven) -> None:
    """Gradients of parameters are divided before the step; one may have been changed in place."""
    if driven.scaler is None or driven.accumulator is not None:
        return
    case, scaler = driven.case, driven.scaler
    grads = [case.choose.fill(np.empty_like(p.data)) for p in driven.params]
    copies = [g.copy() for g in grads]
    for p, g in zip(driven.params, grads, strict=True):
        p.grad = g
    mutation = mutate(case, grads[0]) if case.choose.one_in(3) else "-"
    accepted, _ = case.attempt(
        "GradScaler.unscale_", lambda: scaler.unscale_(driven.optimizer), mutation=f"gradient {mutation}",
        expected="refuse" if driven.stepped else "accept" if mutation == "-" else "either", owners=("GradScaler",),
    )  # fmt: skip
    if not accepted or mutation != "-":
        raise Ended
    case.attempt("GradScaler.unscale_", lambda: scaler.unscale_(driven.optimizer), mutation="again", expected="refuse",
                 owners=("GradScaler",))  # fmt: skip
    case.attempt("GradScaler.step", lambda: scaler.step(driven.optimizer), mutation="after unscale_", expected="accept")
    with np.errstate(all="ignore"):
        divided = [g.dtype.type(1 / driven.scale) * g for g in copies]
    found = not all(np.isfinite(g).all() for g in copies)
    driven.twin.step(divided, skip_nonfinite=True, total_norm=np.inf if found else None)
    driven.note_step()
    if driven.optimizer.last_step.applied == found:
        case.fail("WRONG", "GradScaler.step", "-", "after unscale_", f"found {found}, {driven.optimizer.last_step}")
    raise Ended  # the records of the two steps differ


ATTACKS = [
    good, good, good, good, bad_gradient, bad_gradient, updated, updated, updated, flushed, loaded, garbage, failing,
    unscaled,
]  # fmt: skip

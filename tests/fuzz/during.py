"""User code that runs in the middle of a call: it resizes, loads, steps, edits, raises."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from ravine.nn import functional

from fuzz import known
from fuzz.memory import frozen
from fuzz.models import everything
from fuzz.mutations import MUTATIONS, mutate
from fuzz.oracle import Case, Deliberate
from fuzz.world import World

Array = np.ndarray[Any, Any]
Act = Callable[[], Any]


class Acting:
    """An array to those who ask for one, which does something when it is asked."""

    def __init__(self, array: Array, act: Act, times: int) -> None:
        self.array, self.act, self.left = array, act, times

    def _asked(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


class ActingInterface(Acting):
    @property
    def __array_interface__(self) -> dict[str, Any]:
        self._asked()
        return self.array.__array_interface__


class ActingDlpack(Acting):
    def __dlpack__(self, **options: Any) -> Any:
        self._asked()
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        self._asked()
        return self.array.__dlpack_device__()


class ActingNumber(float):
    """A number that does something when it is converted."""

    act: Act

    def __float__(self) -> float:
        self.act()
        return 0.1

    def __eq__(self, other: object) -> bool:
        self.act()
        return False

    __hash__ = float.__hash__


class ActingInt:
    act: Act

    def __index__(self) -> int:
        self.act()
        return 1

    def __float__(self) -> float:
        self.act()
        return 0.1


class ActingMapping(Mapping[str, Any]):
    def __init__(self, items: dict[str, Any], act: Act) -> None:
        self._items, self._act = items, act

    def __getitem__(self, key: str) -> Any:
        self._act()
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        self._act()
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def actions(world: World) -> dict[str, Act]:
    """Return what user code may do to an optimizer."""
    case, choose, optimizer = world.case, world.case.choose, world.optimizer
    i = choose.below(len(world.arrays))
    gradients = [world.gradient(k) for k in range(len(world.arrays))]
    saved = optimizer.state_dict()
    states = [value for record in optimizer._records for value in record.states.values()]

    def raises() -> None:
        raise Deliberate

    return {
        "changes a parameter": lambda: mutate(case, world.arrays[i]),
        "changes a state": lambda: mutate(case, choose.of(states)) if states else None,
        "resizes a parameter": lambda: _quietly(lambda: MUTATIONS["resized"](case, world.arrays[i])),
        "loads": lambda: optimizer.load_state_dict(saved),
        "saves": optimizer.state_dict,
        "steps": lambda: optimizer.step(gradients),
        "adds a group": lambda: optimizer.add_param_group({"params": [np.ones((2, 2))]}),
        "edits lr": lambda: optimizer.param_groups[0].update(lr=choose.of([0.5, "x", None, float("nan")])),
        "clears the groups": optimizer.param_groups.clear,
        "empties a group": optimizer.param_groups[0].clear,
        "zeroes": lambda: optimizer.zero_grad(True),
        "collects garbage": lambda: gc.collect(0),
        "raises": raises,
        "nothing": lambda: None,
    }


def _quietly(act: Act) -> None:
    with suppress(ValueError, TypeError):
        act()


def attack(case: Case) -> None:
    """Make a step in whose middle user code runs. Nothing outside the arrays changes, and the lock is free again."""
    choose = case.choose
    world = World(case)
    if world.spec.matrices and not all(array.size for array in world.arrays):
        return
    params = world.groups(world.params)
    world.optimizer = world.spec.optimizer(params, **world.config)
    if choose.one_in(2):
        world.optimizer.step([world.gradient(i) for i in range(len(world.arrays))])
    name, act = choose.of(list(actions(world).items()))
    gradients: list[Any] = [world.gradient(i) for i in range(len(world.arrays))]
    i = choose.below(len(gradients))
    group, optimizer = world.optimizer.param_groups[choose.below(len(world.optimizer.param_groups))], world.optimizer
    grads: Any = gradients
    closure: Any = None
    place = choose.of(["interface", "DLPack", "closure", "hook", "lr", "mapping", "iterator", "weight_decay", "repr"])
    if place in ("interface", "DLPack"):
        cls = ActingInterface if place == "interface" else ActingDlpack
        gradients[i] = cls(gradients[i], act, 1 + choose.below(3))
    elif place == "closure":
        closure = act
    elif place == "hook":
        add = choose.of([optimizer.register_step_pre_hook, optimizer.register_step_post_hook])
        add(lambda *_: [act(), None][1])
    elif place in ("lr", "weight_decay"):
        number: Any = ActingNumber(0.1) if choose.one_in(2) else ActingInt()
        number.act = act
        group[place if place in group else "lr"] = number
    elif place == "mapping":
        grads = ActingMapping({f"p{k}": g for k, g in enumerate(gradients)}, act)
    elif place == "iterator":

        def each() -> Iterator[Any]:
            for k, gradient in enumerate(gradients):
                if k == i:
                    act()
                yield gradient

        grads = each()
    guards = case.arena.free_bytes([*world.arrays, *[g for g in gradients if isinstance(g, np.ndarray)]])
    what = choose.of(["step", "step", "step", "state_dict", "load_state_dict", "add_param_group"])
    calls: dict[str, Act] = {
        "step": lambda: optimizer.step(grads, closure=closure),
        "state_dict": optimizer.state_dict,
        "load_state_dict": lambda: optimizer.load_state_dict(optimizer.state_dict()),
        "add_param_group": lambda: optimizer.add_param_group({"params": [ActingInterface(np.ones((2, 2)), act, 1)]}),
    }
    mutation = f"{place} {name}"
    entry = f"{world.name}.{what}"
    case.attempt(entry, calls[what], mutation=f"during: {mutation}", may_change=True, also=(KeyError, IndexError))
    if case.arena.free_bytes([*world.arrays, *[g for g in gradients if isinstance(g, np.ndarray)]]) != guards:
        case.fail("CHANGED", entry, "-", f"during: {mutation}", "bytes outside the arrays have changed")
    if not optimizer._idle:
        case.fail("WRONG", entry, "-", f"during: {mutation}", "the optimizer is locked for good")
    case.say(f"{entry} | - | after {mutation}")
    frozen(everything(optimizer)) if optimizer.param_groups and optimizer.param_groups[0] else None
    last = [np.ones_like(record.array) for record in optimizer._records]
    case.attempt(f"{world.name}.step", lambda: optimizer.step(last), mutation=f"after: {mutation}", may_change=True,
                 also=(KeyError, IndexError))  # fmt: skip


def attack_layers(case: Case) -> None:
    """Arguments of batch norm and dropout that do something when they are asked for their memory."""
    if known.CORRUPTING:
        return
    choose = case.choose
    x = choose.fill(np.empty((2, 3, 4), np.float32))
    targets = {"x": x, **{name: np.ones(3, np.float32) for name in ("weight", "bias", "running_mean", "running_var")}}
    out = np.empty_like(x)
    victim = choose.of([*targets.values(), out])
    left = 1 + choose.below(3)
    given: dict[str, Any] = dict(targets)
    name = choose.of(list(given))
    cls = choose.of([ActingInterface, ActingDlpack])
    given[name] = cls(targets[name], lambda: mutate(case, victim), left)
    if choose.one_in(2):
        entry: str = "batch_norm_forward"
        accepted, result = case.attempt(
            entry, lambda: functional.batch_norm_forward(**given, training=True, out=choose.of([None, out])),
            mutation=f"during: {name} changes an array", may_change=True,
        )  # fmt: skip
    else:
        given[name] = cls(targets[name], lambda: mutate(case, victim), left)
        entry = "dropout_forward"
        accepted, result = case.attempt(
            entry, lambda: functional.dropout_forward(given["x"], seed=1, out=choose.of([None, out])),
            mutation=f"during: {name} changes an array", may_change=True,
        )  # fmt: skip
    if accepted:
        # What is seen through somebody's interface dangles in NumPy too when its owner frees it.
        victims = [out] if given["x"] is not x else [x, out]
        dy: Any = cls(np.ones_like(result[0]), lambda: mutate(case, choose.of(victims)), left)
        backward = functional.batch_norm_backward if entry == "batch_norm_forward" else functional.dropout_backward
        case.attempt(
            entry.replace("forward", "backward"), lambda: backward(dy, result[1]),
            mutation="during: dy changes an array", may_change=True,
        )  # fmt: skip

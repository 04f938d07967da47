"""Attacks on optimizers of the table of cases: construction, and some attacks one after the other."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
from cases import CASES
from ravine import nn

from fuzz.bad_arrays import Bad, bad_array, may_overlap
from fuzz.edits import added_group, edited_group, edited_list, mutated_parameter, replaced_data, turned
from fuzz.gradients import bad_container, bad_gradient, good_step, kept_gradient, sparse_gradient, zeroed
from fuzz.models import Model, everything
from fuzz.oracle import Case, Ended
from fuzz.saved_states import damaged
from fuzz.whole_steps import ATTACKS as ATTACKS_ON_WHOLE_STEPS
from fuzz.whole_steps import averaged
from fuzz.world import Thing, World, usable_parameter

Array = np.ndarray[Any, Any]


def attack(case: Case) -> None:
    """Construct an optimizer, and make some attacks on it one after the other."""
    world = World(case)
    if case.choose.one_in(4):
        construct_badly(world)
    params = world.groups(world.params)
    _, world.optimizer = case.attempt(
        f"{world.name}()", lambda: world.spec.optimizer(params, **world.config), expected="accept"
    )
    if world.optimizer is None:
        return
    world.model = Model(world.spec, world.settings())
    case.watch(world.look)
    if case.choose.one_in(4):
        averaged(world)
    for _ in range(1 + case.choose.below(4)):
        case.choose.of(ATTACKS)(world)
    world.step(g := world.gradients(), g)


def construct_badly(world: World) -> None:
    case, choose = world.case, world.case.choose
    i = choose.below(len(world.arrays))
    others = [array for k, array in enumerate(world.arrays) if k != i]
    bad = bad_array(case, world.arrays[i], others)
    alike = any(bad.view is not None and usable_parameter(bad.view) and may_overlap(bad.view, a) for a in others)
    expected = "either" if usable_parameter(bad.view) and not alike else "refuse"
    if bad.name == "None" and world.form == "array":
        expected = "refuse"
    form = choose.of(["constructor", "group", "Parameter", "data"])
    owners = (world.name, "Parameter")
    if form == "Parameter":
        case.attempt(
            "Parameter()", lambda: nn.Parameter(bad.value), bad=bad.name, owners=owners,
            expected="either" if usable_parameter(bad.view) else "refuse",
        )  # fmt: skip
        return
    value = Thing(bad.value) if form == "data" else bad.value
    if form == "group":
        if not others:
            return
        optimizer = world.spec.optimizer(others, **world.config)
        case.watch(lambda: everything(optimizer))
        accepted, _ = case.attempt(
            f"{world.name}.add_param_group", lambda: optimizer.add_param_group({"params": value}),
            bad=bad.name, expected="either" if bad.name in ("dict", "list", "tuple") else expected, owners=owners,
        )  # fmt: skip
    else:
        params = [*others, value]
        accepted, optimizer = case.attempt(
            f"{world.name}()", lambda: world.spec.optimizer(params, **world.config), bad=bad.name, expected=expected,
            owners=owners,
        )  # fmt: skip
    if accepted and usable_parameter(bad.view) and optimizer._records[-1].array.shape == bad.view.shape:
        step_alone(world, optimizer, bad)


def step_alone(world: World, optimizer: Any, bad: Bad) -> None:
    """Make a step of an unusual parameter alone: the memory behind it has to change as the reference says."""
    view = bad.view
    expected, state = view.copy(order="K"), {}
    gradient = world.case.choose.fill(np.empty_like(np.asarray(view)))
    others = [None] * (len(optimizer._records) - 1)
    accepted, _ = world.case.attempt(
        f"{world.name}.step(list)", lambda: optimizer.step([*others, gradient]), bad=f"parameter: {bad.name}"
    )
    if accepted and not world.spec.matrices:
        with np.errstate(all="ignore"):
            world.spec.run_reference(world.config, [expected], [[gradient]], [state])
        if np.asarray(view).tobytes() != expected.tobytes() and not np.isnan(expected).any():
            world.case.fail("WRONG", f"{world.name}.step(list)", f"parameter: {bad.name}", "-", "differs")


def reloaded(world: World) -> None:
    """Save, and load into the same optimizer; it goes on as if nothing had been."""
    _, saved = world.case.attempt(f"{world.name}.state_dict", world.optimizer.state_dict, expected="accept")
    if saved is not None:
        world.case.attempt(
            f"{world.name}.load_state_dict", lambda: world.optimizer.load_state_dict(saved), expected="accept"
        )
        world.compare(f"{world.name}.load_state_dict")


def damaged_load(world: World) -> None:
    """Load a damaged state."""
    saved, name, value = damaged(world.case, world.optimizer.state_dict())
    accepted, _ = world.case.attempt(
        f"{world.name}.load_state_dict", lambda: world.optimizer.load_state_dict(saved), bad=value, mutation=name,
        owners=(world.name,),
    )  # fmt: skip
    if accepted:
        gradients = world.gradients()
        world.case.attempt(
            f"{world.name}.step(list)", lambda: world.optimizer.step(list(gradients)), bad=value,
            mutation=f"loaded: {name}", owners=(world.name,),
        )  # fmt: skip
        raise Ended


def other_load(world: World) -> None:
    """Load the state of another class."""
    case, choose = world.case, world.case.choose
    spec = choose.of(CASES)
    if spec is world.spec:
        return
    try:
        other = spec.optimizer([np.ones_like(a) for a in world.arrays], **choose.of(spec.configs))
        other.step([np.ones_like(a) for a in world.arrays])
    except (TypeError, ValueError):
        return
    saved = other.state_dict()
    accepted, _ = case.attempt(
        f"{world.name}.load_state_dict", lambda: world.optimizer.load_state_dict(saved), bad=f"state of {spec.name}",
        owners=(world.name,),
    )  # fmt: skip
    if accepted:
        raise Ended


def copied(world: World) -> None:
    """A copy goes on by itself, and this one is as before."""
    case = world.case
    if world.form == "object":  # whose gradients may be anything
        return
    make = case.choose.of([copy.deepcopy, copy.copy, lambda o: pickle.loads(pickle.dumps(o))])
    before = case.snapshot()
    _, other = case.attempt(f"{world.name}: copy", lambda: make(world.optimizer), owners=(world.name,))
    if other is None or make is copy.copy:
        return
    gradients = [world.gradient(i) for i in range(len(world.arrays))]
    before = case.snapshot()
    case.attempt(f"{world.name}.step(list)", lambda: other.step(gradients), mutation="of a copy", owners=(world.name,))
    if case.snapshot() != before:
        case.fail("CHANGED", f"{world.name}.step(list)", "-", "of a copy", "the original has changed")
        raise Ended


ATTACKS = [
    good_step, good_step, bad_gradient, bad_gradient, bad_gradient, bad_container, edited_group, edited_group,
    edited_list, mutated_parameter, mutated_parameter, mutated_parameter, kept_gradient, replaced_data, reloaded,
    damaged_load, other_load, added_group, zeroed, turned, copied, sparse_gradient, *ATTACKS_ON_WHOLE_STEPS,
]  # fmt: skip

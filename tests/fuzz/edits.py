"""What is changed between two steps: groups, parameters, states, `.data`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CASES

from fuzz.bad_arrays import bad_array
from fuzz.memory import address
from fuzz.mutations import description, mutate, restore
from fuzz.oracle import Ended
from fuzz.world import World

Array = np.ndarray[Any, Any]
GARBAGE = [
    None,
    "fast",
    -1,
    float("nan"),
    float("inf"),
    [0.1],
    (0.1, 0.2, 0.3),
    {},
    1e400,
    10**400,
    2,
    1j,
    b"1",
    object,
]
ERRORS_OF = {spec.name: [config for config, *_ in spec.errors] for spec in CASES}


def edited_group(world: World) -> None:
    """A hyper-parameter is changed between two steps, to something right or to garbage."""
    case, choose = world.case, world.case.choose
    index = choose.below(len(world.optimizer.param_groups))
    group = world.optimizer.param_groups[index]
    settings = world.model.settings[index]
    gradients = world.gradients()
    if choose.one_in(3):
        changes = choose.of([{"lr": 0.03}, {"lr": 0.0}, {"lr": np.float32(0.5)}, {"maximize": True}, {"lr": 1}])
        if "weight_decay" in group and choose.one_in(2):
            changes = {"weight_decay": choose.of([0.0, 0.2])}
        group.update(changes)
        settings.update({k: float(v) if k == "lr" else v for k, v in changes.items()})
        world.step(gradients, gradients, mutation="hyper-parameter changed")
        return
    before = dict(group)
    if choose.one_in(2):
        changes = choose.of(ERRORS_OF[world.name])
        changes = {key: value for key, value in changes.items() if key in group}
    else:
        # As many iterations as garbage may ask for would be made.
        key = choose.of([key for key in group if key not in ("params", "param_names", "ns_steps")])
        changes = {key: choose.of(GARBAGE)}
    group.update(changes)
    accepted, _ = case.attempt(
        f"{world.name}.step(list)", lambda: world.optimizer.step(list(gradients)), mutation="hyper-parameter garbage",
        owners=(world.name,),
    )  # fmt: skip
    if accepted:  # what looked like garbage was none, such as a number 2
        raise Ended
    group.clear()
    group.update(before)
    world.step(gradients, gradients, mutation="hyper-parameter garbage, mended")


def edited_list(world: World) -> None:
    """The list of groups, or a group, loses or gains something."""
    case, choose = world.case, world.case.choose
    groups, gradients = world.optimizer.param_groups, world.gradients()
    saved = [dict(group) for group in groups]
    kind = choose.below(7)
    name = ("group appended", "group removed", "cleared", "key removed", "key added", "params emptied", "no dict")[kind]
    if kind == 0:
        groups.append(dict(groups[0]))
    elif kind == 1:
        del groups[choose.below(len(groups))]
    elif kind == 2:
        groups.clear()
    elif kind == 3:
        del groups[0][choose.of([key for key in groups[0] if key not in ("params", "param_names")])]
    elif kind == 4:
        groups[0]["unheard_of"] = 1
    elif kind == 5:
        groups[0]["params"] = []
    else:
        groups[0] = choose.of([None, [], 3])
    what = choose.of(["step", "state_dict", "zero_grad", "load_state_dict", "repr", "has_stepped"])
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: world.optimizer.step(list(gradients)),
        "state_dict": world.optimizer.state_dict,
        "zero_grad": world.optimizer.zero_grad,
        "load_state_dict": lambda: world.optimizer.load_state_dict(world.optimizer.state_dict()),
        "repr": lambda: repr(world.optimizer),
        "has_stepped": lambda: world.optimizer.has_stepped,
    }
    case.watched.remove(world.look)  # it looks into the groups
    states = [world.optimizer._state_of(record) for record in world.optimizer._records]
    case.watch(lambda: states)
    case.attempt(f"{world.name}.{what}", calls[what], mutation=name, owners=(world.name, "KeyError"))
    groups[:] = saved
    raise Ended


def mutated_parameter(world: World) -> None:
    """A parameter, a state or a gradient that is kept is changed in place between two calls."""
    case, choose = world.case, world.case.choose
    i = choose.below(len(world.arrays))
    p, records = world.arrays[i], world.optimizer._records
    targets = [("parameter", p)]
    if records[i].states:
        targets.append(("state", choose.of(list(records[i].states.values()))))
    if world.model.averages is not None:
        targets.append(("average", world.optimizer._averages.arrays[i]))
    kind, target = choose.of(targets)
    before, gradients = description(target), world.gradients()
    if gradients[i] is None:
        gradients[i] = world.gradient(i)
    mutation = mutate(case, target)
    if mutation == "-":
        return
    name = f"{kind} {mutation}"
    what = choose.of(["step", "step", "step", "state_dict", "reload", "zero_grad", "copy"])
    if mutation == "overwritten":
        if kind != "parameter":
            raise Ended
        world.model.take_over(i)
        world.step(gradients, gradients, mutation=name)
        return
    if what == "step":
        # Only axes of length 1, and arrays of at most one element, may have any strides.
        harmless = target.dtype.str == before[1] and target.shape == before[2] and (
            target.size <= 1 and address(target) == before[0][0] and target.flags.writeable
        )  # fmt: skip
        world.step(gradients, gradients, mutation=name, expected="either" if harmless else "refuse", form="list")
    else:
        optimizer = world.optimizer
        for param in world.params if world.form != "array" and what == "zero_grad" else ():
            param.grad = None  # it may be a parameter by now, which would become zeros
        if what == "copy" and world.form == "object":  # whose gradients may be anything
            raise Ended
        calls: dict[str, Callable[[], Any]] = {
            "state_dict": optimizer.state_dict,
            "reload": lambda: optimizer.load_state_dict(optimizer.state_dict()),
            "zero_grad": optimizer.zero_grad,
            "copy": lambda: copy.deepcopy(optimizer),
        }
        accepted, _ = case.attempt(f"{world.name}.{what}", calls[what], mutation=name, owners=(world.name, "Parameter"))
        if accepted and what == "reload":
            # A state may have become right by being read anew; the parameter may not.
            case.attempt(
                f"{world.name}.step(list)", lambda: optimizer.step(list(gradients)), mutation=f"{name}, reloaded",
                owners=(world.name,), expected="refuse" if kind == "parameter" and target.size > 1 else "either",
            )  # fmt: skip
            raise Ended
    if not restore(target, before):
        raise Ended
    world.step(gradients, gradients, mutation=f"{name}, mended", form="list")


def replaced_data(world: World) -> None:
    """The `.data` of an object is replaced by something else."""
    if world.form != "object":
        return
    case, choose = world.case, world.case.choose
    i = choose.below(len(world.arrays))
    param, gradients = world.params[i], world.gradients()
    if gradients[i] is None:
        gradients[i] = world.gradient(i)
    bad = bad_array(case, world.arrays[i])
    same: list[Callable[[Array], Any]] = [lambda a: a[:-1], lambda a: a.view("i4"), lambda a: a[..., ::2],
                                           lambda a: a.reshape(-1, 1), lambda a: a.T]  # fmt: skip
    narrowed = choose.one_in(2)
    kept = param.data
    try:
        param.data = choose.of(same)(kept) if narrowed else bad.value
    except (ValueError, TypeError):
        return
    unchanged = param.data is not None and isinstance(param.data, np.ndarray) and (
        description(param.data)[1:] == description(kept)[1:] and address(param.data) == address(kept)
    )  # fmt: skip
    harmless = unchanged or not kept.size or (isinstance(param.data, np.ndarray) and param.data.size == kept.size == 1)
    case.attempt(
        f"{world.name}.step(list)", lambda: world.optimizer.step(list(gradients)),
        bad="view of the same memory" if narrowed else bad.name, mutation=".data replaced",
        expected="either" if harmless else "refuse", owners=(world.name, "Parameter"),
    )  # fmt: skip
    raise Ended


def added_group(world: World) -> None:
    case, choose = world.case, world.case.choose
    if world.form != "array" or world.named:
        return
    array = world.new_array()
    if choose.one_in(2):
        key, value = choose.of(["lr", "weight_decay", "unheard_of", "params", 3]), choose.of(GARBAGE)
        case.attempt(
            f"{world.name}.add_param_group", lambda: world.optimizer.add_param_group({"params": array, key: value}),
            bad="hyper-parameter garbage", owners=(world.name,),
            expected="refuse" if key == "unheard_of" else "either",
        )  # fmt: skip
        if len(world.optimizer.param_groups) > len(world.sizes):
            raise Ended
        return
    accepted, _ = case.attempt(
        f"{world.name}.add_param_group", lambda: world.optimizer.add_param_group({"params": [array], "lr": 0.02}),
        expected="accept",
    )  # fmt: skip
    if accepted:
        world.arrays.append(array)
        world.params.append(array)
        world.sizes.append(1)
        if len(world.sizes) > 2:
            raise Ended
        world.model.add([array], {**world.config, "lr": 0.02})


def turned(world: World) -> None:
    """Schedule-free optimizers change between training and evaluation."""
    if not hasattr(world.optimizer, "eval"):
        return
    case, gradients = world.case, world.gradients()
    case.attempt(f"{world.name}.eval", world.optimizer.eval, expected="accept")
    case.attempt(
        f"{world.name}.step(list)", lambda: world.optimizer.step(list(gradients)), mutation="eval()",
        expected="refuse", owners=(world.name,),
    )  # fmt: skip
    case.attempt(f"{world.name}.train", world.optimizer.train, expected="accept")
    for i in range(len(world.arrays)):
        world.model.take_over(i)

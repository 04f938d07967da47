"""The parts of a training: what of each is saved, and how each takes over what was saved, or goes back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import address, check_overlap, describe, parameter_array
from ravine.checkpoint._flatten import flatten
from ravine.nn.layer import Layer
from ravine.optim._groups import as_groups, as_named
from ravine.optim.lr_scheduler import HyperparameterScheduler, LRScheduler
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]
Act = Callable[[], None]


class Change(NamedTuple):
    """What loading does to one object.

    Attributes:
        make: takes the saved state over.
        undo: returns, before anything has changed, what gives the object its present state back.
    """

    make: Act
    undo: Callable[[], Act]


class Kind(NamedTuple):
    """A kind of objects that are saved.

    Attributes:
        expected: what may be given, in words.
        classes: the same.
        name: what of an object has to be the same when it is loaded.
        save: returns its state.
        load: checks a state, lists what does not fit, and returns the change.
    """

    expected: str
    classes: tuple[type, ...]
    name: Callable[[Any], str]
    save: Callable[[Any], Any]
    load: Callable[[Any, Any, list[str]], Change]


# --- objects with a state_dict


def _class_name(value: object) -> str:
    return type(value).__name__


def _state_dict(value: Any) -> Any:
    return value.state_dict()


def _change_of(value: Any, state: Any, problems: list[str]) -> Change:
    return Change(value._loader(state, problems), lambda: value._loader(value.state_dict(), []))


def _optimizer_change(optimizer: Optimizer, state: Any, problems: list[str]) -> Change:
    # Going back is nobody's loading, and so without hooks.
    return Change(optimizer._loader(state, problems), lambda: optimizer._checked_state(optimizer._saved(), []))


# --- random number generators


def _generator_name(rng: Any) -> str:
    return type(rng.bit_generator if isinstance(rng, np.random.Generator) else rng).__name__


def _generator_state(rng: Any) -> Any:
    if isinstance(rng, random.Random):
        return rng.getstate()
    if isinstance(rng, np.random.RandomState):
        return rng.get_state(legacy=False)
    return (rng.bit_generator if isinstance(rng, np.random.Generator) else rng).state


def _set_generator_state(rng: Any, state: Any) -> None:
    if isinstance(rng, random.Random):
        rng.setstate(state)
    elif isinstance(rng, np.random.RandomState):
        rng.set_state(state)
    else:
        (rng.bit_generator if isinstance(rng, np.random.Generator) else rng).state = state


def _generator_change(rng: Any, state: Any, problems: list[str]) -> Change:
    trial: Any = random.Random()
    if isinstance(rng, np.random.RandomState):
        trial = np.random.RandomState()
    elif not isinstance(rng, random.Random):
        trial = type(rng.bit_generator if isinstance(rng, np.random.Generator) else rng)()
    try:
        _set_generator_state(trial, state)
    except (TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        problems.append(f"this is no state of a {_generator_name(rng)}: {error}")

    def undo() -> Act:
        before = _generator_state(rng)
        return lambda: _set_generator_state(rng, before)

    return Change(lambda: _set_generator_state(rng, state), undo)


KINDS = {
    "layers": Kind("a layer of ravine.nn", (Layer,), _class_name, _state_dict, _change_of),
    "optimizer": Kind("an optimizer of ravine.optim", (Optimizer,), _class_name, _state_dict, _optimizer_change),
    "scheduler": Kind(
        "a schedule of ravine.optim.lr_scheduler",
        (LRScheduler, HyperparameterScheduler),
        _class_name,
        _state_dict,
        _change_of,
    ),
    "rng": Kind(
        "a random number generator (numpy.random.Generator, RandomState, random.Random)",
        (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random),
        _generator_name,
        _generator_state,
        _generator_change,
    ),
}


def saved(where: str, part: str, objects: Any) -> tuple[Any, Any]:
    """Return the names and the states of the objects of a part, each in the form in which they came.

    Args:
        where: how error messages begin.
        part: a key of `KINDS`.
        objects: one, a list of them, or a dict of them by name.

    Raises:
        TypeError: something is no such object.
    """
    kind = KINDS[part]
    given = _listed(where, part, objects)
    return _in_form(objects, map(kind.name, given.values())), _in_form(objects, map(kind.save, given.values()))


def changes(where: str, part: str, objects: Any, names: Any, states: Any, problems: list[str]) -> list[Change]:
    """Check saved states against the objects of a part and return what loading does to them.

    Args:
        where: how error messages begin.
        part: a key of `KINDS`.
        objects: one, a list of them, or a dict of them by name.
        names: the first that `saved` returned.
        states: the second.
        problems: what does not fit is added to it.
    """
    kind = KINDS[part]
    given = _listed(where, part, objects)
    form, saved_form = _form(objects), _form(names)
    if form != saved_form:
        problems.append(f"{part}: {saved_form} was saved; {form} is to be loaded")
        return []
    there = _by_key(names)
    held = _states_by_key(names, states)
    if there.keys() != held.keys():
        problems.append(f"{part}: the names in the file are not those of its states")
        return []
    missing = [key for key in given if key not in there]
    unknown = [key for key in there if key not in given]
    problems += [f"{part}{_index(key)} has not been saved" for key in missing]
    problems += [f"{part}{_index(key)}, a {there[key]}, has been saved; nothing is given for it" for key in unknown]
    result = []
    for key, each in given.items():
        if key in missing:
            continue
        if kind.name(each) != there[key]:
            problems.append(f"{part}{_index(key)} is a {kind.name(each)}; a {there[key]} was saved")
            continue
        found: list[str] = []
        result.append(kind.load(each, held[key], found))
        problems += [f"{part}{_index(key)}: {problem}" for problem in found]
    return result


_ONE = "one object"


def _form(objects: Any) -> str:
    if isinstance(objects, Mapping):
        return "a dict"
    return "a list" if isinstance(objects, list | tuple) else _ONE


def _by_key(objects: Any) -> dict[Any, Any]:
    if isinstance(objects, Mapping):
        return dict(objects)
    return dict(enumerate(objects)) if isinstance(objects, list | tuple) else {None: objects}


def _states_by_key(objects: Any, states: Any) -> dict[Any, Any]:
    """Return states by the keys of their objects; one state may be a dict itself."""
    return {None: states} if _form(objects) == _ONE else _by_key(states)


def _in_form(objects: Any, values: Iterable[Any]) -> Any:
    if isinstance(objects, Mapping):
        return dict(zip(objects, values, strict=True))
    listed = list(values)
    return listed if isinstance(objects, list | tuple) else listed[0]


def _index(key: Any) -> str:
    return "" if key is None else f"[{key!r}]"


def _listed(where: str, part: str, objects: Any) -> dict[Any, Any]:
    """Return the objects by name, by position, or one under None."""
    kind = KINDS[part]
    given = _by_key(objects)
    for key, each in given.items():
        if not isinstance(each, kind.classes):
            raise TypeError(
                f"{where}: {part}{_index(key)} is a {describe(each)}; expected {kind.expected}, a list of such, or a "
                "dict of them by name. Whatever else has a state_dict goes into extra."
            )
        if not (key is None or isinstance(key, int | str)) or (isinstance(objects, Mapping) and type(key) is not str):
            raise TypeError(f"{where}: {part} has the key {key!r}; expected names.")
    return given


# --- parameters


def check_layers(where: str, layers: Any, states: Any, params: Sequence[Array]) -> None:
    """Raise where a layer has parameters that are neither in its state nor saved by themselves.

    Args:
        where: how the message begins.
        layers: as they came.
        states: theirs, as `saved` returned them.
        params: the arrays that are saved by themselves.
    """
    there = {address(array) for array in params}
    held = _states_by_key(layers, states)
    for key, layer in _by_key(layers).items():
        own = dict(layer.named_parameters())
        if len(flatten(held[key])[0]) < len(own) and not {address(each.data) for each in own.values()} <= there:
            raise TypeError(
                f"{where}: layers{_index(key)}, a {_class_name(layer)}, has parameters ({', '.join(own)}) that its "
                "state_dict leaves out. Give them as params too, or return their arrays from the layer's _state."
            )


class NamedArray(NamedTuple):
    """A parameter."""

    name: str | None
    label: str
    array: Array


def read_params(where: str, params: Any) -> list[NamedArray]:
    """Return parameters, which come in the forms that optimizers take, as arrays.

    Raises:
        TypeError, ValueError: an optimizer would refuse them.
    """
    result = []
    for index, group in enumerate(as_groups(where, params)):
        prefix = "params" if index == 0 else f"params[{index}]['params']"
        for i, (name, value) in enumerate(as_named(where, prefix, group["params"])):
            label = f"{prefix}[{i if name is None else name!r}]"
            is_plain = not (hasattr(value, "grad") and hasattr(value, "data"))
            result.append(NamedArray(name, label, parameter_array(where, label, value if is_plain else value.data)))
    names = [each.name for each in result if each.name is not None]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{where}: two parameters are named {twice!r}; each needs a name of its own.")
    check_overlap(where, [each.label for each in result], [each.array for each in result])
    return result


def saved_params(where: str, params: Any) -> list[Array] | dict[str, Array]:
    """Return the arrays themselves: a dict by name where all have one, a list otherwise."""
    listed = read_params(where, params)
    named = {each.name: each.array for each in listed if each.name is not None}
    return named if len(named) == len(listed) else [each.array for each in listed]


def param_changes(where: str, params: Any, states: Any, problems: list[str]) -> list[Change]:
    """Check saved parameters against those given and return what loading does to them.

    They are found by name where both have names, and by position otherwise.
    """
    listed = read_params(where, params)
    by_name = isinstance(states, Mapping) and all(each.name is not None for each in listed)
    if by_name:
        there = dict(states)
        given = {each.name: each for each in listed}
        problems += [f"{given[name].label} has not been saved" for name in given if name not in there]
        problems += [f"params[{name!r}] has been saved; nothing is given for it" for name in there if name not in given]
        pairs = [(given[name], there[name]) for name in given if name in there]
    else:
        values: Sequence[Any] = list(states.values()) if isinstance(states, Mapping) else states
        if len(values) != len(listed):
            problems.append(f"params: {len(values)} have been saved; {len(listed)} are to be loaded")
            return []
        pairs = list(zip(listed, values, strict=True))
    problems += [
        f"{each.label} is {describe(each.array)}; {describe(value)} was saved"
        for each, value in pairs
        if not isinstance(value, np.ndarray) or value.shape != each.array.shape or value.dtype != each.array.dtype
    ]
    return [_param_change(each.array, value) for each, value in pairs]


def _param_change(array: Array, value: Array) -> Change:
    def undo() -> Act:
        before = array.copy(order="K")
        return lambda: np.copyto(array, before)

    return Change(lambda: np.copyto(array, value), undo)

"""The parts of a training: what of each is saved, and how each takes over what was saved, or goes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import address, describe
from ravine.checkpoint import _generators
from ravine.checkpoint._changes import Change
from ravine.checkpoint._flatten import flatten
from ravine.checkpoint._generators import GENERATORS
from ravine.nn.layer import Layer
from ravine.optim._drivers import Driver
from ravine.optim.lr_scheduler import HyperparameterScheduler, LRScheduler
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]


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


def _optimizer_change(optimizer: Optimizer | Driver, state: Any, problems: list[str]) -> Change:
    take_over = optimizer._loader(state, problems)
    if isinstance(optimizer, Driver):
        return Change(take_over, lambda: optimizer._loader(optimizer._saved(), []))

    def load() -> None:
        take_over()
        optimizer._loaded()

    # Going back is nobody's loading, and so without hooks.
    return Change(load, lambda: optimizer._checked_state(optimizer._saved(), []))


KINDS = {
    "layers": Kind("a layer of ravine.nn", (Layer,), _class_name, _state_dict, _change_of),
    "optimizer": Kind(
        "an optimizer of ravine.optim, a GradScaler or an Accumulator",
        (Optimizer, Driver),
        _class_name,
        _state_dict,
        _optimizer_change,
    ),
    "scheduler": Kind(
        "a schedule of ravine.optim.lr_scheduler",
        (LRScheduler, HyperparameterScheduler),
        _class_name,
        _state_dict,
        _change_of,
    ),
    "rng": Kind(
        "a random number generator (numpy.random.Generator, RandomState, random.Random)",
        GENERATORS,
        _generators.name_of,
        _generators.state_of,
        _generators.change_of,
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
    given = objects_of(where, part, objects)
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
    given = objects_of(where, part, objects)
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
    problems += [f"{part}{_index(key)} ({there[key]}) has been saved; nothing is given for it" for key in unknown]
    result = []
    for key, each in given.items():
        if key in missing:
            continue
        if kind.name(each) != there[key]:
            problems.append(f"{part}{_index(key)} is {kind.name(each)}; {there[key]} was saved")
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


def objects_of(where: str, part: str, objects: Any) -> dict[Any, Any]:
    """Return the objects by name, by position, or one under None."""
    kind = KINDS[part]
    given = _by_key(objects)
    for key, each in given.items():
        if not isinstance(each, kind.classes):
            raise TypeError(
                f"{where}: {part}{_index(key)} is a {describe(each)}; expected {kind.expected}, a list of such, or a "
                "dict of them by name. Whatever else has a state_dict goes into extra."
            )
        if isinstance(objects, Mapping) and type(key) is not str:
            raise TypeError(f"{where}: {part} has the key {key!r}; expected names.")
    return given


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
                f"{where}: layers{_index(key)} ({_class_name(layer)}) has parameters ({', '.join(own)}) that its "
                "state_dict leaves out. Give them as params too, or return their arrays from the layer's _state."
            )
